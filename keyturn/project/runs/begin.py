"""Starts one run of one of Keyturn's flows by name, in the process that a worker started.

It uses only the names of the flow and deployment, and the parameters, which must match the flow's. Users of Prefect's
API can also set a command, variables or a code source: such a run is refused.
"""

import asyncio
import functools
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_type_hints
from uuid import UUID

from prefect import Flow, get_client
from prefect._internal.control_listener import configure_from_env
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow as NamedFlow
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.engine import handle_engine_signals
from prefect.flow_engine import run_flow
from prefect.logging import get_logger
from prefect.states import Failed
from pydantic import TypeAdapter, ValidationError

from keyturn import project
from keyturn.core.errors import Denied
from keyturn.core.text.log_lines import wants_json
from keyturn.core.workspaces import WorkspaceNames
from keyturn.project.json_lines import write_json_lines
from keyturn.project.runs.quiet import quiet_runs
from keyturn.providers.opentelemetry.opening import told_in_spans

RUN_VARIABLE: Final = "PREFECT__FLOW_RUN_ID"
MOST, LONGEST = 5, 60
"""Names in a message, and characters in each."""


@dataclass(frozen=True)
class RunRequest:
    workspace: WorkspaceNames
    run: FlowRun
    flow: NamedFlow
    deployment: DeploymentResponse | None

    @property
    def function(self) -> str:
        return self.flow.name.replace("-", "_")

    @property
    def name(self) -> str:
        return f"{self.flow.name}/{self.deployment.name if self.deployment else ''}"


def main() -> None:
    run_id = UUID(os.environ[RUN_VARIABLE])
    configure_from_env()
    if wants_json(os.environ):
        write_json_lines()
    quiet_runs()
    with handle_engine_signals(run_id), told_in_spans(os.environ, get_logger("keyturn").warning):
        asyncio.run(execute_run(run_id))


async def execute_run(run_id: UUID) -> None:
    """Complete the run, or fail it with the reason for its refusal."""
    async with get_client() as client:
        request = await read_request(client, run_id)
        try:
            flow = permitted_flow(request)
        except Denied as error:
            await client.set_flow_run_state(run_id, Failed(message=str(error)))
            return
    # The state, not the result: another user who ended the run could set the place that a result is read from.
    under_way: Any = run_flow(flow, flow_run=request.run, return_type="state")
    await under_way


async def read_request(client: PrefectClient, run_id: UUID) -> RunRequest:
    run = await client.read_flow_run(run_id)
    flow, deployment = await asyncio.gather(client.read_flow(run.flow_id), read_deployment(client, run))
    return RunRequest(WorkspaceNames.from_environment(os.environ), run, flow, deployment)


async def read_deployment(client: PrefectClient, run: FlowRun) -> DeploymentResponse | None:
    return await client.read_deployment(run.deployment_id) if run.deployment_id else None


def permitted_flow(request: RunRequest) -> Flow[Any, Any]:
    """Keyturn's flow of that name. Raises Denied if the server sets more than it may."""
    if reason := next(filter(None, (check(request) for check in CHECKS)), None):
        hint = (
            f"Nothing was run. `keyturn setup prefect --apply{request.workspace.option}` registers what may run here; "
        )
        hint += "see who has changed the run or its deployment"
        raise Denied("run", request.name, reason, hint)
    return own_flow(request)


def own_flow(request: RunRequest) -> Flow[Any, Any]:
    flow: Flow[Any, Any] = getattr(project, request.function)
    return flow


def foreign_flow(request: RunRequest) -> str | None:
    if request.function in project.FLOWS and own_flow(request).name == request.flow.name:
        return None
    return f"Keyturn has no flow named {request.flow.name}, and this worker runs no other's"


def foreign_deployment(request: RunRequest) -> str | None:
    wanted, deployment = request.workspace.deployment(request.flow.name), request.deployment
    if deployment is None:
        return f"it belongs to no deployment, and this worker runs {wanted} alone"
    if deployment.name != wanted or deployment.flow_id != request.run.flow_id:
        return f"the flow's deployment is {wanted}, and this one is {deployment.name}"
    return None


def foreign_code(request: RunRequest) -> str | None:
    own, deployment = f"{project.__name__}.{request.function}", request.deployment
    if deployment is None or deployment.entrypoint != own:
        return f"its deployment's entrypoint is not {own}, and this worker runs what it has installed alone"
    if deployment.pull_steps or deployment.storage_document_id:
        return (
            "its deployment has code fetched (pull steps, or storage), and this worker runs what it has installed alone"
        )
    return None


def job_variables(request: RunRequest) -> str | None:
    deployment = request.deployment.job_variables if request.deployment else None
    if variables := {**(deployment or {}), **(request.run.job_variables or {})}:
        return f"it brings job variables ({join_names(variables)}), and this worker takes none"
    return None


def unfit_parameters(request: RunRequest) -> str | None:
    """Parameters that are unknown, missing or of another type."""
    reasons = unfit_arguments(own_flow(request).fn, request.run.parameters)
    return next((f"its parameters don't fit the flow: {reason}" for reason in reasons), None)


def unfit_arguments(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    """The problem of each parameter, by name and without its value."""
    declared = inspect.signature(function).parameters
    kinds = get_type_hints(inspect.unwrap(function), include_extras=True)
    if unknown := parameters.keys() - declared.keys():
        yield f"it has no parameter {join_names(unknown)}"
    needed = [name for name, parameter in declared.items() if parameter.default is parameter.empty]
    yield from (f"{name} is missing" for name in needed if name not in parameters)
    for name in declared.keys() & parameters.keys():
        try:
            # Strict JSON: no text becomes a number, and no object a reference to a block.
            adapter(kinds[name]).validate_json(json.dumps(parameters[name]), strict=True)
        except ValidationError as error:
            yield f"{name}: {error.errors(include_input=False, include_context=False)[0]['msg']}"


def join_names(names: Iterable[str]) -> str:
    """Foreign names, as far as a message has space."""
    return ", ".join(name[:LONGEST] for name in sorted(names)[:MOST])


@functools.cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


Check = Callable[[RunRequest], str | None]
"""Returns the reason for a refusal, or None."""

CHECKS: Final[tuple[Check, ...]] = (foreign_flow, foreign_deployment, foreign_code, job_variables, unfit_parameters)
