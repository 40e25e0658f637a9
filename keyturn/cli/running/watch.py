"""Run a deployment and watch its steps, up to the run's result."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keyturn.cli.interruption import continues_later
from keyturn.cli.output import note
from keyturn.cli.setup.prefect_server import LOCAL, insist_on_prefect
from keyturn.core.error_codes import BY_KIND
from keyturn.core.errors import KeyturnError, Locked, TransientError, Unavailable
from keyturn.core.ports.tracing import RUN_ATTRIBUTE, TRACE_LABEL, TRACEPARENT, traced, traceparent, traces_wanted
from keyturn.core.result_parts import RESULT, WAITS, join_parts
from keyturn.core.workspaces import WorkspaceNames

if TYPE_CHECKING:
    from keyturn.providers.prefect_api import FlowRun, PrefectApi, TaskRun
    from keyturn.settings.prefect import PrefectSettings

DEFAULT: Final = WorkspaceNames()
POLL: Final = 0.1
"""Seconds between two polls of the run."""
STEPS: Final = 0.3
"""Seconds between two polls of its steps, while it runs."""
PATIENCE: Final = 15.0
"""Seconds before a run that no worker started is reported."""
BEHIND: Final = "awaitingconcurrencyslot"
"""The state of a run that waits for another of its deployment."""
LAGGING: Final = 3.0
"""Seconds to wait for the last steps after the run's end, since the server learns of them by events."""
STABLE: Final = 3
"""Polls without a change before no more steps are expected, for a run that did not say how many it has."""
MOST_STEPS: Final = 200
"""The most that a server lists at once. Source: PREFECT_API_DEFAULT_LIMIT."""


@dataclass(frozen=True)
class Run:
    """A finished run, in names only. ``steps`` are the names of its tasks by final state."""

    id: str
    url: str
    name: str
    state: str
    message: str
    steps: dict[str, set[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    """The flow's result; None if it ended earlier."""
    kind: str = ""
    """The class of the error that ended it, by name; empty if unknown."""

    @property
    def completed(self) -> bool:
        """Whether its flow succeeded."""
        return self.state == "COMPLETED"

    def did(self, step: str) -> bool:
        """Return whether a step of this name succeeded for any subject."""
        return any(name.split(" ")[0] == step for name in self.steps.get("COMPLETED", ()))

    def to_data(self) -> dict[str, str]:
        return {"id": self.id, "url": self.url}

    def error(self, doing: str, subject: str) -> KeyturnError:
        """Return the error of an unsuccessful run; Locked if another run was active."""
        remedy = f"See the run: {self.url}" if self.url else "See the run in the Prefect UI"
        if self.state == "CANCELLED":
            problem = f"the run was cancelled: {self.message}" if self.message else "the run was cancelled"
            return Locked(doing, subject, problem, "Where another run is at work, look again when that has ended")
        if self.completed:
            problem = "the run has ended well, and what it came to can't be read from here"
            return TransientError(doing, subject, problem, f"Its worker may be of another version. {remedy}")
        if self.state == "CRASHED":
            remedy = f"Nothing is lost: run it again, and it continues from there. {remedy}"
        kind = {each.__name__: each for each in BY_KIND}.get(self.kind, TransientError)
        # The error of a step begins as this one does, and its hint follows the first sentence.
        _, own, problem = self.message.rpartition(f"{doing} {subject}: ")
        if own:
            problem, _, hint = problem.partition(". ")
            remedy = f"{hint.rstrip('.')}. {remedy}" if hint else remedy
        return kind(doing, subject, problem or f"the run ended as {self.state.lower()}", remedy)


class StillRuns(Unavailable):
    """The run continues, but the wait for it ended."""


class NotBegun(Unavailable):
    """No worker started the run in time."""


def run_deployment(
    flow: str,
    parameters: dict[str, Any],
    timeout: float,
    workspace: WorkspaceNames = DEFAULT,
    begun_within: float = float("inf"),
    answered_within: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Run:
    """Run a flow's deployment, wait for its end and print each step on stderr. Raises Unavailable, NotFound or
    Denied.

    Raises StillRuns after ``timeout`` seconds, and NotBegun after ``begun_within`` seconds without a worker.
    ``answered_within`` limits the wait for the server, in seconds. ``meanwhile`` runs after the run is created.
    """
    settings = insist_on_prefect()
    return Watcher(flow, timeout, workspace, begun_within).run(settings, parameters, answered_within, meanwhile)


class Watcher:
    """One run from start to end."""

    def __init__(
        self, flow: str, timeout: float, workspace: WorkspaceNames = DEFAULT, begun_within: float = float("inf")
    ) -> None:
        self._deployment = workspace.deployed(flow)
        self._remedy = f"Run `keyturn setup prefect --apply{workspace.option}` once, {LOCAL}"
        self._pool = workspace.own
        self._timeout = timeout
        self._begun_within = begun_within
        self._ended: set[str] = set()
        self._retried: set[tuple[str, int]] = set()
        self._remarked = False

    def run(
        self,
        settings: "PrefectSettings",
        parameters: dict[str, Any],
        answered_within: float | None,
        meanwhile: Callable[[], object],
    ) -> Run:
        from keyturn.providers.prefect_api import PrefectApi

        with spans_told(), PrefectApi(settings, "run", self._deployment, f", {LOCAL}") as api:
            if answered_within:
                api.insist_on_answer(answered_within)
            started = self._ask(api, parameters)
            url = f"{settings.ui_url.rstrip('/')}/runs/flow-run/{started.id}" if settings.ui_url else ""
            note(f"run {started.name} on the Prefect server {settings.url} (Ctrl-C stops watching, not the run)")
            if url:
                note(f"  {url}")
            with continues_later(f"the run {started.name} continues; see {url or 'the Prefect UI'}"):
                meanwhile()
                ended = self._until_over(api, started, url)
            parts = [json.loads(part) for part in api.list_artifacts(started.id, RESULT)]
            tasks = self._late_steps(api, started.id, parts[0].get("steps", 0) if parts else None)
        end, result = ended.state, join_parts(parts)
        by_state = {kind: {t.name for t in tasks if t.state.kind == kind} for kind in {t.state.kind for t in tasks}}
        failures = {t.name: t.state.words for t in tasks if t.state.kind == "FAILED"}
        return Run(started.id, url, started.name, end.kind, end.words, by_state, failures, result, end.error)

    def _until_over(self, api: "PrefectApi", started: "FlowRun", url: str) -> "FlowRun":
        began = time.monotonic()
        looked = began - STEPS
        while True:
            current = api.read_run(started.id)
            if current.state.final:
                return current
            if time.monotonic() - looked >= STEPS:
                looked = time.monotonic()
                self._steps(api, started.id)
            waited = time.monotonic() - began
            if waited > self._timeout:
                problem = f"the run {started.name} has not ended within {self._timeout:g} s"
                raise StillRuns("wait for", self._deployment, problem, f"It continues; see {url or 'the Prefect UI'}")
            if waited > self._begun_within and not current.begun:
                problem = f"no worker has begun the run {started.name} within {self._begun_within:g} s"
                raise NotBegun("wait for", self._deployment, problem, "See that a worker of its queue runs")
            if waited > PATIENCE and not current.begun:
                self._remark(current)
            time.sleep(POLL)

    def _ask(self, api: "PrefectApi", parameters: dict[str, Any]) -> "FlowRun":
        attributes = {"keyturn.secret": str(parameters.get("path") or "")}
        with traced(f"ask for {self._deployment.partition('/')[0]}", attributes) as span:
            labels = {TRACE_LABEL: text} if (text := traceparent().get(TRACEPARENT)) else {}
            deployment = api.find_deployment(self._deployment, self._remedy)
            run = api.create_run(deployment, parameters, {WAITS: True, **labels})
            span.set(RUN_ATTRIBUTE, run.id)
        return run

    def _remark(self, run: "FlowRun") -> None:
        if not self._remarked:
            self._remarked = True
            state = run.state.name.lower()
            if state == BEHIND:
                return note("  another run of its deployment is at work: this one begins when that is over")
            note(f"  the run has not started ({state}). Is a worker running for pool {self._pool}?")
        return None

    def _steps(self, api: "PrefectApi", run: str) -> "list[TaskRun]":
        tasks = api.list_steps(run)
        for task in sorted(
            (t for t in tasks if t.state.final), key=lambda t: float("inf") if t.ended is None else t.ended
        ):
            if task.id not in self._ended:
                self._ended.add(task.id)
                note(f"  {task.name}: {task_summary(task)}")
        for task in tasks:
            if task.state.name == "AwaitingRetry" and (task.id, task.tries) not in self._retried:
                self._retried.add((task.id, task.tries))
                note(f"  {task.name}: has failed and is tried again")
        return tasks

    def _late_steps(self, api: "PrefectApi", run: str, steps: int | None) -> "list[TaskRun]":
        """Print the remaining steps. ``steps`` is how many the run has, if it left that with its result."""
        unchanged, count, deadline = 0, -1, time.monotonic() + LAGGING
        while True:
            tasks = self._steps(api, run)
            unchanged = unchanged + 1 if len(self._ended) == count else 0
            count = len(self._ended)
            complete = unchanged >= STABLE and count > 0 if steps is None else count >= min(steps, MOST_STEPS)
            if (complete and count == len(tasks)) or time.monotonic() > deadline:
                return tasks
            time.sleep(POLL if steps else STEPS)


@contextmanager
def spans_told() -> Iterator[None]:
    """Send spans if the environment requests it; otherwise import nothing."""
    if not traces_wanted(os.environ):
        yield
        return
    from keyturn.providers.opentelemetry.opening import told_in_spans

    with told_in_spans(os.environ, note):
        yield


def task_summary(task: "TaskRun") -> str:
    took = f"{task.seconds:.2f} s" if task.seconds else ""
    words = task.state.words if task.state.kind in ("FAILED", "COMPLETED") else ""
    return ", ".join(part for part in (words or task.state.name.lower(), took) if part)
