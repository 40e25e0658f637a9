"""A worker that runs only Keyturn's flows, each in its own process, which receives only the run's id.

Prefect's process worker executes what its API sends: a command, variables, a directory, code to fetch. This one ignores
all of these, from a run, its deployment and the work pool.
"""

import asyncio
import gc
import os
import tempfile
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Final, Self
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun, State, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectException
from prefect.runner._flow_run_executor import FlowRunExecutor
from prefect.runner._process_manager import ProcessHandle
from prefect.states import Cancelled
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.text.log_lines import wants_json
from keyturn.project.json_lines import write_json_lines
from keyturn.project.process import guard_process
from keyturn.project.worker.execution import Contexts
from keyturn.project.worker.forking import Nursery, NurseryStarter, can_watch_forked, run_environment
from keyturn.project.worker.leftovers import crash_leftovers
from keyturn.project.worker.metrics import UNKNOWN, VARIABLE, WorkerNumbers, serve_numbers
from keyturn.project.worker.waking import heed_events
from keyturn.project.worker_settings import own_settings

TYPE: Final = "keyturn"

TEMPLATE: Final[Mapping[str, Any]] = {
    "job_configuration": {"stream_output": "start its workers with --type keyturn"},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""The pool's job template, without any settings.

A process worker fails each run with these words; Pydantic shows 50 characters of them.
"""


WAITING: Final = "AwaitingConcurrencySlot"
SPARED: Final = "A run that waits already does the same: this one was not needed."


class KeyturnJobConfiguration(BaseJobConfiguration):
    """A run's configuration, without anything from the API."""

    @classmethod
    async def resolve_for_flow_run(
        cls,
        flow_run: FlowRun,
        *,
        client: PrefectClient,
        work_pool: WorkPool,
        worker_name: str,
        worker_id: UUID | None = None,
        deployment: DeploymentResponse | None = None,
    ) -> Self:
        configuration = cls()
        configuration._related_objects = {"flow-run": flow_run}
        return configuration


class KeyturnWorkerResult(BaseWorkerResult):
    """How a run's process ended."""


class NoHooks:
    """Keyturn's flows have no hooks, and other flows' hooks are never loaded."""

    async def run_cancellation_hooks(self, flow_run: FlowRun, state: State[Any]) -> None:
        """Do nothing."""

    async def run_crashed_hooks(self, flow_run: FlowRun, state: State[Any]) -> None:
        """Do nothing."""


class KeyturnWorker(BaseWorker[KeyturnJobConfiguration, BaseVariables, KeyturnWorkerResult]):
    """``prefect worker start --pool keyturn``: runs Keyturn's own flows by name, and nothing else."""

    type = TYPE
    job_configuration = KeyturnJobConfiguration
    _display_name = "Keyturn"
    _description = "Runs Keyturn's own flows by their names, with parameters that fit them, and nothing else."
    _documentation_url = ""
    _nursery: Nursery | None = None
    _heeding = False

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        return {key: dict(part) for key, part in TEMPLATE.items()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._contexts = Contexts()
        self._numbers = WorkerNumbers() if os.environ.get(VARIABLE) else None
        self._flows: dict[UUID, str] = {}

    async def setup(self) -> None:
        """Protect this process. Ends it without a hub and a catalogue in its own settings."""
        guard_process()
        try:
            if wants_json(os.environ):
                write_json_lines()
            settings = self._own_settings()
            self._serve_numbers()
        except KeyturnError as error:
            raise SystemExit(str(error)) from None
        await super().setup()
        self._exit_stack.push_async_callback(self._contexts.close)
        self._nursery = Nursery() if can_watch_forked() else None
        if self._nursery:
            self._beside(self._nursery.keep(run_environment(settings)))
            if self._numbers:
                self._numbers.nursery_up = self._nursery.stands

    async def _initialize_after_sync(self) -> None:
        await super()._initialize_after_sync()
        if self._work_pool and not self._heeding:
            self._heeding = True
            await self._warn_of_queues()
            self._beside(heed_events(self._work_pool.id, self.get_and_submit_flow_runs))
            self._beside(crash_leftovers(self.client, self._work_pool_name))
            # The loaded objects stay, and need no collection after each run.
            gc.collect()
            gc.freeze()
            self._contexts.prepare()

    async def _warn_of_queues(self) -> None:
        """Report requested queues that the pool lacks: the server gives such a worker nothing, and no error."""
        names = set[str]()
        with suppress(PrefectException, httpx.HTTPError):
            names = {queue.name for queue in await self.client.read_work_queues(work_pool_name=self._work_pool_name)}
        if names and (lacking := sorted(self._work_queues - names)):
            self._logger.error(
                "the pool %s has no queue %s: this worker gets no runs. It has %s. Correct --work-queue, or run "
                "`keyturn setup prefect --apply`",
                self._work_pool_name,
                ", ".join(lacking),
                ", ".join(sorted(names)),
            )

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        self._exit_stack.push_async_callback(stopped, asyncio.create_task(work))

    def _serve_numbers(self) -> None:
        if self._numbers is None:
            return
        stack = ExitStack()
        try:
            place = serve_numbers(stack, self._numbers, os.environ, self._logger.warning)
        except OSError as error:
            problem, hint = error.strerror or "it can't be", f"Choose another address in {VARIABLE}"
            raise Invalid("listen", os.environ[VARIABLE], problem, hint) from None
        self._exit_stack.callback(stack.close)
        self._logger.info("numbers: %s/metrics", place)

    def _own_settings(self) -> dict[str, str]:
        return own_settings(os.environ, self._work_pool_name)

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        """Whether the run may start. A scheduled run is cancelled if an equal one already waits."""
        ready = await super()._propose_pending_state(flow_run)
        if not ready and flow_run.auto_scheduled and await waits_already(self.client, flow_run):
            await self.client.set_flow_run_state(flow_run.id, Cancelled(message=SPARED), force=True)
        return ready

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Do nothing: two concurrent writes on SQLite would delay a run by two seconds."""

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Do nothing: the run's log names its worker."""

    async def run(
        self,
        flow_run: FlowRun,
        configuration: KeyturnJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> KeyturnWorkerResult:
        """Carry out one run in its own process; its crash or cancellation affects nothing else."""
        if self._numbers is None:
            return await self._run_process(flow_run, task_status)
        with self._numbers.run(await self._flow_of(flow_run), flow_run.expected_start_time) as end:
            result = await self._run_process(flow_run, task_status)
            end.outcome = await self._outcome_of(flow_run.id)
        return result

    async def _outcome_of(self, run: UUID) -> str:
        with suppress(PrefectException, httpx.HTTPError):
            state = (await self.client.read_flow_run(run)).state_type
            return state.value.lower() if state else UNKNOWN
        return UNKNOWN

    async def _flow_of(self, flow_run: FlowRun) -> str:
        known_as = flow_run.deployment_id
        if known_as is None:
            return UNKNOWN
        if known_as not in self._flows:
            with suppress(PrefectException, httpx.HTTPError):
                self._flows[known_as] = (await self.client.read_deployment(known_as)).name
        return self._flows.get(known_as, UNKNOWN)

    async def _run_process(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[int] | None
    ) -> KeyturnWorkerResult:
        settings = self._own_settings()
        with tempfile.TemporaryDirectory(prefix="keyturn-run-") as directory:
            async with self._contexts.take() as context:
                tell = self._numbers.process if self._numbers else None
                starter = NurseryStarter(self._nursery, settings, directory, context.control_channel, tell)
                executor = context.create_executor(flow_run, starter, propose_submitting=False, hook_runner=NoHooks())
                return await see_through(executor, task_status or anyio.TASK_STATUS_IGNORED)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def waits_already(client: PrefectClient, flow_run: FlowRun) -> bool:
    """Whether this run waits behind another waiting run with equal parameters and a smaller id."""
    if flow_run.deployment_id is None:
        return False
    waiting = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[flow_run.deployment_id]),
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[WAITING])),
        )
    )
    if flow_run.id not in {run.id for run in waiting}:
        return False
    return any(run.id < flow_run.id and run.parameters == flow_run.parameters for run in waiting)


async def see_through(executor: FlowRunExecutor, task_status: anyio.abc.TaskStatus[int]) -> KeyturnWorkerResult:
    """Start the process, report its pid, and wait for its end. Raises RuntimeError if it did not start."""
    results = []

    async def execute(*, task_status: anyio.abc.TaskStatus[ProcessHandle]) -> None:
        results.append(await executor.submit(task_status=task_status))

    async with anyio.create_task_group() as group:
        handle = await group.start(execute)
        task_status.started(handle.pid or 0)
    (result,) = results
    if result is None or result.status_code is None:
        raise RuntimeError("the process of the run could not be started")
    return KeyturnWorkerResult(status_code=result.status_code, identifier=str(result.handle.pid))
