"""Running a deployment and watching it: its steps as they end, and the result that the run left."""

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from keyturn.cli.output import note
from keyturn.cli.prefect_server import in_our_words, insist_on_prefect
from keyturn.core.errors import KeyturnError, Locked, TransientError, Unavailable
from keyturn.core.result_parts import RESULT, WAITS, join_parts
from keyturn.core.workspaces import WorkspaceNames

DEFAULT: Final = WorkspaceNames()
POLL: Final = 0.25
"""Seconds between two looks at the run."""

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
) -> Run:
    """Run a flow's deployment and wait for its end, telling each step on stderr. Raises Unavailable, NotFound, Denied.

    Raises StillRuns after ``timeout`` seconds, and NotBegun after ``begun_within`` seconds in which no worker took it.
    """
    api = insist_on_prefect()
    with in_our_words("run", workspace.deployed(flow), workspace):
        return Watcher(flow, timeout, workspace, begun_within).run(api, parameters)


class Watcher:
    """One run from its beginning to its end."""

    def __init__(
        self, flow: str, timeout: float, workspace: WorkspaceNames = DEFAULT, begun_within: float = float("inf")
    ) -> None:
        self._deployment = workspace.deployed(flow)
        self._pool = workspace.own
        self._timeout = timeout
        self._begun_within = begun_within
        self._ended: set[UUID] = set()
        self._retried: set[tuple[UUID, int]] = set()
        self._remarked = False

    def run(self, api: str, parameters: dict[str, Any]) -> Run:
        """Start it and see it through."""
        from prefect.client.orchestration import get_client
        from prefect.utilities.urls import url_for

        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(self._deployment)
            labels: Any = {WAITS: True}
            started = client.create_flow_run_from_deployment(deployment.id, parameters=parameters, labels=labels)
            url = url_for("flow-run", obj_id=started.id) or ""
            note(f"run {started.name} on the Prefect server {api} (Ctrl-C stops watching, not the run)")
            if url:
                note(f"  {url}")
            ended = self._until_over(client, started, url)
            result = result_of(client, started.id)
            # Of a run that says itself what it came to nothing is read from its steps.
            tasks = self._late_steps(client, started.id) if result is None else self._steps(client, started.id)
        message = plain_message(ended.state.message if ended.state else None)
        by_state = {state: {t.name for t in tasks if kind(t) == state} for state in map(kind, tasks)}
        failures = {t.name: plain_message(t.state.message) for t in tasks if kind(t) == "FAILED"}
        return Run(str(started.id), url, started.name, kind(ended), message, by_state, failures, result)

    def _until_over(self, client: Any, started: Any, url: str) -> Any:
        began = time.monotonic()
        while True:
            current = client.read_flow_run(started.id)
            self._steps(client, started.id)
            if current.state and current.state.is_final():
                return current
            waited = time.monotonic() - began
            if waited > self._timeout:
                problem = f"the run {started.name} has not ended within {self._timeout:g} s"
                raise StillRuns("wait for", self._deployment, problem, f"It goes on; see {url or 'the Prefect UI'}")
            if waited > self._begun_within and current.start_time is None:
                problem = f"no worker has begun the run {started.name} within {self._begun_within:g} s"
                raise NotBegun("wait for", self._deployment, problem, "See that a worker of its queue runs")
            if waited > PATIENCE and current.start_time is None:
                self._remark(current)
            time.sleep(POLL)

    def _remark(self, run: Any) -> None:
        if not self._remarked:
            self._remarked = True
            state = run.state.name.lower() if run.state else "unknown"
            if state == BEHIND:
                return note("  another run of its deployment is at work: this one begins when that is over")
            note(f"  nobody has begun the run yet (it is {state}): does a worker of the pool {self._pool} run?")
        return None

    def _steps(self, client: Any, run: UUID) -> list[Any]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        ended = sorted((t for t in tasks if t.state and t.state.is_final()), key=ended_at)
        for task in ended:
            if task.id not in self._ended:
                self._ended.add(task.id)
                note(f"  {task.name}: {task_summary(task)}")
        for task in tasks:
            if task.state and task.state.name == "AwaitingRetry" and (task.id, task.run_count) not in self._retried:
                self._retried.add((task.id, task.run_count))
                note(f"  {task.name}: has failed and is tried again")
        return list(tasks)

    def _late_steps(self, client: Any, run: UUID) -> list[Any]:
        unchanged, count, deadline = 0, -1, time.monotonic() + LAGGING
        while True:
            tasks = self._steps(client, run)
            unchanged = unchanged + 1 if len(self._ended) == count else 0
            count = len(self._ended)
            settled = unchanged >= STABLE and count == len(tasks) > 0
            if settled or time.monotonic() > deadline:
                return tasks
            time.sleep(POLL)


def kind(run: Any) -> str:
    """The type of a run's state, such as COMPLETED."""
    return run.state.type.value if run.state else "UNKNOWN"


def ended_at(task: Any) -> float:
    """When a task ended, to sort by."""
    return task.end_time.timestamp() if task.end_time else float("inf")


def task_summary(task: Any) -> str:
    """How a task ended."""
    state = task.state.name.lower()
    took = f"{task.total_run_time.total_seconds():.2f} s" if task.total_run_time else ""
    words = plain_message(task.state.message) if kind(task) in ("FAILED", "COMPLETED") else ""
    return ", ".join(part for part in (words or state, took) if part)


def plain_message(message: str | None) -> str:
    """The error's own words, without what Prefect says before them."""
    return re.sub(r"^(Task|Flow) run encountered an exception:? (\w+: )?", "", message or "")


def result_of(client: Any, run: UUID) -> dict[str, Any] | None:
    """What the run left of itself as data; None where it left nothing, or not all of it."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
    from prefect.client.schemas.sorting import ArtifactSort

    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=[RESULT]))
    artifacts = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC)
    return join_parts(json.loads(artifact.data) for artifact in artifacts)
