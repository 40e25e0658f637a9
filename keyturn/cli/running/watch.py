"""Running a deployment and watching it: its steps as they end, and the result that the run left."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keyturn.cli.interruption import continues_later
from keyturn.cli.output import note
from keyturn.cli.setup.prefect_server import LOCAL, insist_on_prefect
from keyturn.core.errors import KeyturnError, Locked, TransientError, Unavailable
from keyturn.core.ports.tracing import RUN_ATTRIBUTE, TRACE_LABEL, TRACEPARENT, traced, traceparent, traces_wanted
from keyturn.core.result_parts import RESULT, WAITS, join_parts
from keyturn.core.workspaces import WorkspaceNames

if TYPE_CHECKING:
    from keyturn.providers.prefect_api import FlowRun, PrefectApi, TaskRun
    from keyturn.settings.prefect import PrefectSettings

DEFAULT: Final = WorkspaceNames()
POLL: Final = 0.1
"""Seconds between two looks at the run."""

STEPS: Final = 0.3
"""Seconds between two looks at its steps, while it works."""

PATIENCE: Final = 15.0
"""Seconds after which a run that nobody has begun is remarked on."""

BEHIND: Final = "awaitingconcurrencyslot"
"""The state of a run that waits for another of its deployment."""

LAGGING: Final = 3.0
"""Seconds that the last steps are waited for once the run is over: the server learns of them by events."""

STABLE: Final = 3
"""Looks without a change after which no more steps are expected."""


@dataclass(frozen=True)
class Run:
    """A run that is over, in names only. ``steps`` are the names of its tasks by how they ended."""

    id: str
    url: str
    name: str
    state: str
    message: str
    steps: dict[str, set[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    """What it came to, as its flow left it; None where it ended before that."""

    @property
    def completed(self) -> bool:
        """Whether its flow ended well."""
        return self.state == "COMPLETED"

    def did(self, step: str) -> bool:
        """Whether such a step of anything ended well."""
        return any(name.split(" ")[0] == step for name in self.steps.get("COMPLETED", ()))

    def to_data(self) -> dict[str, str]:
        """As JSON has it."""
        return {"id": self.id, "url": self.url}

    def error(self, doing: str, subject: str) -> KeyturnError:
        """Why it did not end well; Locked where another run was at it."""
        remedy = f"See the run: {self.url}" if self.url else "See the run in the Prefect UI"
        if self.state == "CANCELLED":
            problem = f"the run was cancelled: {self.message}" if self.message else "the run was cancelled"
            return Locked(doing, subject, problem, "Where another run is at work, look again when that has ended")
        if self.completed:
            problem = "the run has ended well, and what it came to can't be read from here"
            return TransientError(doing, subject, problem, f"Its worker may be of another version. {remedy}")
        if self.state == "CRASHED":
            remedy = f"Nothing is lost: run it again, it goes on from there. {remedy}"
        return TransientError(doing, subject, self.message or f"the run ended as {self.state.lower()}", remedy)


class StillRuns(Unavailable):
    """A run that is at work, and was not waited for any longer."""


class NotBegun(Unavailable):
    """A run that no worker has begun in time."""


def run_deployment(
    flow: str,
    parameters: dict[str, Any],
    timeout: float,
    workspace: WorkspaceNames = DEFAULT,
    begun_within: float = float("inf"),
    answered_within: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Run:
    """Run a flow's deployment and wait for its end, telling each step on stderr. Raises Unavailable, NotFound, Denied.

    Raises StillRuns after ``timeout`` seconds, and NotBegun after ``begun_within`` seconds in which no worker took it.
    With ``answered_within`` a server that says nothing for so many seconds is waited for no longer. What there is to
    do ``meanwhile`` is done once it is asked for.
    """
    settings = insist_on_prefect()
    return Watcher(flow, timeout, workspace, begun_within).run(settings, parameters, answered_within, meanwhile)


class Watcher:
    """One run from its beginning to its end."""

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
        """Start it and see it through."""
        from keyturn.providers.prefect_api import PrefectApi

        with spans_told(), PrefectApi(settings, "run", self._deployment, f", {LOCAL}") as api:
            if answered_within:
                api.insist_on_answer(answered_within)
            started = self._ask(api, parameters)
            url = url_of(settings, started)
            note(f"run {started.name} on the Prefect server {settings.url} (Ctrl-C stops watching, not the run)")
            if url:
                note(f"  {url}")
            with continues_later(f"the run {started.name} goes on; see {url or 'the Prefect UI'}"):
                meanwhile()
                ended = self._until_over(api, started, url)
            result = result_of(api, started.id)
            # Of a run that says itself what it came to nothing is read from its steps.
            tasks = self._late_steps(api, started.id) if result is None else self._steps(api, started.id)
        message = plain_message(ended.state.message)
        by_state = {kind: {t.name for t in tasks if t.state.kind == kind} for kind in {t.state.kind for t in tasks}}
        failures = {t.name: plain_message(t.state.message) for t in tasks if t.state.kind == "FAILED"}
        return Run(started.id, url, started.name, ended.state.kind, message, by_state, failures, result)

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
                raise StillRuns("wait for", self._deployment, problem, f"It goes on; see {url or 'the Prefect UI'}")
            if waited > self._begun_within and not current.begun:
                problem = f"no worker has begun the run {started.name} within {self._begun_within:g} s"
                raise NotBegun("wait for", self._deployment, problem, "See that a worker of its queue runs")
            if waited > PATIENCE and not current.begun:
                self._remark(current)
            time.sleep(POLL)

    def _ask(self, api: "PrefectApi", parameters: dict[str, Any]) -> "FlowRun":
        """Ask for the run. Where spans are told it goes on with this command's trace, by its label."""
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
            note(f"  nobody has begun the run yet (it is {state}): does a worker of the pool {self._pool} run?")
        return None

    def _steps(self, api: "PrefectApi", run: str) -> "list[TaskRun]":
        tasks = api.list_steps(run)
        for task in sorted((t for t in tasks if t.state.final), key=ended_at):
            if task.id not in self._ended:
                self._ended.add(task.id)
                note(f"  {task.name}: {task_summary(task)}")
        for task in tasks:
            if task.state.name == "AwaitingRetry" and (task.id, task.tries) not in self._retried:
                self._retried.add((task.id, task.tries))
                note(f"  {task.name}: has failed and is tried again")
        return tasks

    def _late_steps(self, api: "PrefectApi", run: str) -> "list[TaskRun]":
        unchanged, count, deadline = 0, -1, time.monotonic() + LAGGING
        while True:
            tasks = self._steps(api, run)
            unchanged = unchanged + 1 if len(self._ended) == count else 0
            count = len(self._ended)
            settled = unchanged >= STABLE and count == len(tasks) > 0
            if settled or time.monotonic() > deadline:
                return tasks
            time.sleep(STEPS)


@contextmanager
def spans_told() -> Iterator[None]:
    """Have spans told where the environment says so; else nothing is imported for it."""
    if not traces_wanted(os.environ):
        yield
        return
    from keyturn.providers.opentelemetry.opening import told_in_spans

    with told_in_spans(os.environ, note):
        yield


def url_of(settings: "PrefectSettings", run: "FlowRun") -> str:
    """Where people see the run; empty where nobody knows."""
    return f"{settings.ui_url.rstrip('/')}/runs/flow-run/{run.id}" if settings.ui_url else ""


def ended_at(task: "TaskRun") -> float:
    """When a task ended, to sort by."""
    return float("inf") if task.ended is None else task.ended


def task_summary(task: "TaskRun") -> str:
    """How a task ended."""
    took = f"{task.seconds:.2f} s" if task.seconds else ""
    words = plain_message(task.state.message) if task.state.kind in ("FAILED", "COMPLETED") else ""
    return ", ".join(part for part in (words or task.state.name.lower(), took) if part)


def plain_message(message: str | None) -> str:
    """The error's own words, without what Prefect says before them."""
    return re.sub(r"^(Task|Flow) run encountered an exception:? (\w+: )?", "", message or "")


def result_of(api: "PrefectApi", run: str) -> dict[str, Any] | None:
    """What the run left of itself as data; None where it left nothing, or not all of it."""
    return join_parts(map(json.loads, api.list_artifacts(run, RESULT)))
