"""One run of one of Keyturn's flows, begun by its name: what the process that a worker starts does.

Of all that the Prefect server says of a run it takes the names of its flow and its deployment, and the parameters,
which have to fit the flow's own. Whoever may write to Prefect's API may also say what command to run, with which
variables, and from where to fetch the code: a run of which any of that is said is refused, and nothing of it is done.
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
    """What the Prefect server asks for, and the workspace of the worker that it asks."""

    workspace: WorkspaceNames
    run: FlowRun
    flow: NamedFlow
    deployment: DeploymentResponse | None

    @property
    def function(self) -> str:
        """The name of the function that the flow has here, if it has one."""
        return self.flow.name.replace("-", "_")

    @property
    def name(self) -> str:
        """The run's flow and deployment, for people."""
        return f"{self.flow.name}/{self.deployment.name if self.deployment else ''}"


def main() -> None:
    """Carry out the run that the environment names."""
    run_id = UUID(os.environ[RUN_VARIABLE])
    configure_from_env()
    if wants_json(os.environ):
        write_json_lines()
    quiet_runs()
    with handle_engine_signals(run_id), told_in_spans(os.environ, get_logger("keyturn").warning):
        asyncio.run(execute_run(run_id))


async def execute_run(run_id: UUID) -> None:
    """See the run through, or end it as failed, with the reason why it was refused."""
    async with get_client() as client:
        request = await read_request(client, run_id)
        try:
            flow = permitted_flow(request)
        except Denied as error:
            await client.set_flow_run_state(run_id, Failed(message=str(error)))
            return
    # Its state, not its result: that of a run which somebody else has ended could be read from wherever they say.
    under_way: Any = run_flow(flow, flow_run=request.run, return_type="state")
    await under_way


async def read_request(client: PrefectClient, run_id: UUID) -> RunRequest:
    """What the server says of the run."""
    run = await client.read_flow_run(run_id)
    flow, deployment = await asyncio.gather(client.read_flow(run.flow_id), read_deployment(client, run))
    return RunRequest(WorkspaceNames.from_environment(os.environ), run, flow, deployment)


async def read_deployment(client: PrefectClient, run: FlowRun) -> DeploymentResponse | None:
    """The deployment that the run is of, if it is of one."""
    return await client.read_deployment(run.deployment_id) if run.deployment_id else None


def permitted_flow(request: RunRequest) -> Flow[Any, Any]:
    """Keyturn's own flow of that name. Raises Denied for a run of which the server says more than it may."""
    if reason := next(filter(None, (check(request) for check in CHECKS)), None):
        hint = (
            f"Nothing was run. `keyturn setup prefect --apply{request.workspace.option}` registers what may run here; "
        )
        hint += "see who has changed the run or its deployment"
        raise Denied("run", request.name, reason, hint)
    return own_flow(request)


def own_flow(request: RunRequest) -> Flow[Any, Any]:
    """The flow that this installation has under the run's name."""
    flow: Flow[Any, Any] = getattr(project, request.function)
    return flow


def foreign_flow(request: RunRequest) -> str | None:
    """A flow that Keyturn does not have."""
    if request.function in project.FLOWS and own_flow(request).name == request.flow.name:
        return None
    return f"Keyturn has no flow named {request.flow.name}, and this worker runs no other's"


def foreign_deployment(request: RunRequest) -> str | None:
    """A run outside a deployment, or one of somebody else's, or of one whose flow is not the run's."""
    wanted, deployment = request.workspace.deployment(request.flow.name), request.deployment
    if deployment is None:
        return f"it belongs to no deployment, and this worker runs {wanted} alone"
    if deployment.name != wanted or deployment.flow_id != request.run.flow_id:
        return f"the flow's deployment is {wanted}, and this one is {deployment.name}"
    return None


def foreign_code(request: RunRequest) -> str | None:
    """Code of the server's choice."""
    own, deployment = f"{project.__name__}.{request.function}", request.deployment
    if deployment is None or deployment.entrypoint != own:
        return f"its deployment's entrypoint is not {own}, and this worker runs what it has installed alone"
    if deployment.pull_steps or deployment.storage_document_id:
        return (
            "its deployment has code fetched (pull steps, or storage), and this worker runs what it has installed alone"
        )
    return None


def job_variables(request: RunRequest) -> str | None:
    """A command, variables, a directory, an image."""
    deployment = request.deployment.job_variables if request.deployment else None
    if variables := {**(deployment or {}), **(request.run.job_variables or {})}:
        return f"it brings job variables ({join_names(variables)}), and this worker takes none"
    return None


def unfit_parameters(request: RunRequest) -> str | None:
    """Parameters that the flow does not have, lacks, or would have to guess the meaning of."""
    reasons = unfit_arguments(own_flow(request).fn, request.run.parameters)
    return next((f"its parameters don't fit the flow: {reason}" for reason in reasons), None)


def unfit_arguments(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with them, each by its name; never a value, which may be anything."""
    declared = inspect.signature(function).parameters
    kinds = get_type_hints(inspect.unwrap(function), include_extras=True)
    if unknown := parameters.keys() - declared.keys():
        yield f"it has no parameter {join_names(unknown)}"
    needed = [name for name, parameter in declared.items() if parameter.default is parameter.empty]
    yield from (f"{name} is missing" for name in needed if name not in parameters)
    for name in declared.keys() & parameters.keys():
        try:
            # As JSON, strictly: no text counts as a number, and no object as a reference to a block.
            adapter(kinds[name]).validate_json(json.dumps(parameters[name]), strict=True)
        except ValidationError as error:
            yield f"{name}: {error.errors(include_input=False, include_context=False)[0]['msg']}"


def join_names(names: Iterable[str]) -> str:
    """Names that somebody else has chosen, as far as a message has room for them."""
    return ", ".join(name[:LONGEST] for name in sorted(names)[:MOST])


@functools.cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """What tells whether JSON is of that kind."""
    return TypeAdapter(kind)


Check = Callable[[RunRequest], str | None]
"""Says why a run is refused, or nothing."""

CHECKS: Final[tuple[Check, ...]] = (foreign_flow, foreign_deployment, foreign_code, job_variables, unfit_parameters)
