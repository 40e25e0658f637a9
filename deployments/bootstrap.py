"""Registers Keyturn with a Prefect server; repeated registration updates existing objects."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from prefect.automations import Automation
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import (
    BlockDocumentUpdate,
    GlobalConcurrencyLimitCreate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from blocks.channel import FailureChannel
from blocks.workspace import KeyturnWorkspace
from deployments.edits import REPORTS, edit_automation, own_resources
from deployments.forms import offer_choices
from deployments.prefect_file import declared_file, file_of, is_unneeded
from deployments.retention import advice
from deployments.silence import (
    DEFAULT,
    FAILED,
    RUNS,
    begun_automation,
    crash_automation,
    runs_of,
    silence_automation,
    unserved_automation,
    waiting_automation,
)
from deployments.texts import filled, notification
from flows.check_logins import REFUSED
from flows.keep_ledger import BEHIND, UNWITNESSED
from flows.rehearse import MISSED
from flows.rotate_due import LATE
from keyturn.catalogue import Catalogue
from keyturn.core.errors import Conflict, Invalid, Unavailable
from keyturn.core.schedule.due import Trigger
from keyturn.core.workspaces import LEDGER, SECRET, WorkspaceNames
from keyturn.project import FLOWS
from keyturn.project.worker.worker import TYPE, KeyturnWorker

WITHDRAWN: Final = (
    "report an incident",
    "report that nobody rotates",
    "report that nobody looks",
    "report runs that nobody begins",
    "report a queue that nobody serves",
)
"""Automations of earlier versions, which are removed."""

SCHEDULES_WITHDRAWN: Final = {
    "rotate-due": "*/15 * * * *",
    "check-logins": "23 * * * *",
    "check-hub": "47 4 * * *",
    "retire": "*/10 * * * *",
    "rotate-own-keys": "41 * * * *",
    "rotate-keys": "53 * * * *",
    "renew-authorities": "29 * * * *",
    "keep-ledger": "*/5 * * * *",
}
"""Schedules of earlier versions, which Prefect keeps until they are deleted."""

REPLACED: Final = (
    "the work pool {name} was of type {kind}, whose workers run what the "
    "API says: it is replaced by one of type {type}. "
    "Start its workers again with --type {type}, and what was waiting in it as well"
)
EMERGENCY: Final = "emergency"
"""The work queue of revocations, with the highest priority."""
AT_ONE_TARGET: Final = 1

SUBJECT: Final = "<called>: {{ flow_run.name }} {{ flow_run.state.name | lower }}"
BODY: Final = """\
{{ flow_run.state.message }}

Secret: {{ flow_run.parameters.path or "see the message" }}
{% if flow_run.state.name == "Crashed" %}The worker's process died. Nothing is lost: the next run continues from the \
step where it ended. Remedy: check that the worker runs, then run the deployment again.
{% endif %}Run: {{ flow_run | ui_url }}
"""

REQUESTED: Final = "keyturn.rotation.requested"
"""The event that requests a rotation; its resource is the secret."""

REMINDED: Final = timedelta(days=1)
LATE_SUBJECT: Final = "<called>: <path> is late"
LATE_BODY: Final = """\
{{ event.payload.why }}

Secret: <path>
Remedy: what holds it is shown by `keyturn due <path>`; `keyturn rotate <path> --now<option>` replaces it now. \
While it stays late this is sent once a day.
"""

REFUSED_SUBJECT: Final = "<called>: <path> does not log in"
REFUSED_BODY: Final = """\
{{ event.payload.why }}

Secret: <path>
Remedy: it was changed at its target, or the target was restored, or does not answer. `keyturn rotate <path> \
--now<option>` gives it a new credential; the one that works may be in a copy, or known to the person who changed it. \
It is tried every hour, and while it fails this is sent once a day.
"""

MISSED_SUBJECT: Final = "<called>: <path> does not meet its objective of a revocation"
MISSED_BODY: Final = """\
{{ event.payload.why }}

Secret: <path>
Remedy: see `keyturn slo <path>`. `keyturn slo <path> --rehearse` measures it again. While it stays so this is sent \
once a day.
"""

BEHIND_AGAIN: Final = timedelta(hours=1)
BEHIND_SUBJECT: Final = "<called>: {{ event.payload.collector }} is behind"
BEHIND_BODY: Final = """\
{{ event.payload.why }}

Ledger: {{ event.payload.ledger }}
Nothing is lost: what it lacks is sent when it takes it. While that fails this is sent once an hour.
"""


UNWITNESSED_SUBJECT: Final = "<called>: {{ event.payload.witness }} did not cosign the ledger"
UNWITNESSED_BODY: Final = """\
{{ event.payload.why }}

Ledger: {{ event.payload.ledger }}
Its checkpoints are still made. A witness that is down is asked again with the next one; one that has seen \
another history says that this one was changed: `keyturn ledger verify --witnesses 1`. Sent once an hour.
"""


async def bootstrap(
    catalogue: Catalogue,
    failure_url: str | None,
    progress: Callable[[str], None],
    workspace: WorkspaceNames = DEFAULT,
    incidents: Sequence[str] = (),
) -> None:
    """Register all objects of a workspace, and leave other objects on the server unchanged.

    Forms offer the open ``incidents``. Raises Unavailable without a server, Invalid if a deployment is refused.
    """
    try:
        progress("work pool and limits")
        await make_pool(progress, workspace)
        await make_emergency_queue(workspace)
        await make_limits(catalogue, workspace)
        progress("blocks")
        await put_block(workspace)
        progress("deployments")
        # Bootstrap's own changes are not reported as edits.
        await remove_automation(workspace.automation(REPORTS))
        with file_of(workspace, catalogue.unneeded) as file:
            deploy(file)
        await withdraw_deployments(catalogue.unneeded, progress, workspace)
        await withdraw_schedules(workspace)
        await offer_choices(catalogue, workspace, incidents)
        progress("automations")
        await make_automations(failure_url, workspace)
        for remark in await advice():
            progress(f"mind the server's database: {remark}")
    except (httpx.TransportError, RuntimeError) as error:
        raise Unavailable(
            "bootstrap", "the Prefect server", f"it does not answer ({type(error).__name__})", "Check PREFECT_API_URL"
        ) from None


async def make_pool(progress: Callable[[str], None], workspace: WorkspaceNames = DEFAULT) -> None:
    """Make or update the work pool; replace a pool of another type.

    Raises Conflict if a worker of the other type recreates its pool.
    """
    name, template = workspace.own, KeyturnWorker.get_default_base_job_template()
    async with get_client() as client:
        if (kind := await type_of_pool(client, name)) not in (TYPE, None):
            # Prefect can't change a pool's type. Bootstrap recreates its queues and deployments afterwards.
            await client.delete_work_pool(name)
            progress(REPLACED.format(name=name, kind=kind, type=TYPE))
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=name, type=TYPE, base_job_template=template))
        if (kind := await type_of_pool(client, name)) != TYPE:
            hint = "End the workers that were started with --type process, then run this again"
            raise Conflict(
                "make", f"the work pool {name}", f"a worker has replaced it with one of the type {kind}", hint
            )
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


async def type_of_pool(client: PrefectClient, name: str) -> str | None:
    try:
        return str((await client.read_work_pool(name)).type)
    except ObjectNotFound:
        return None


async def put_block(workspace: WorkspaceNames = DEFAULT) -> None:
    """Save the block with the workspace's name, and remove all other data of an earlier version."""
    block = KeyturnWorkspace(workspace=workspace.name)
    document = await block.asave(workspace.name, overwrite=True)
    alone = BlockDocumentUpdate(
        block_schema_id=block._block_schema_id, data={"workspace": workspace.name}, merge_existing_data=False
    )
    async with get_client() as client:
        await client.update_block_document(document, alone)


async def make_emergency_queue(workspace: WorkspaceNames = DEFAULT) -> None:
    async with get_client() as client:
        try:
            queue = await client.read_work_queue_by_name(EMERGENCY, work_pool_name=workspace.own)
        except ObjectNotFound:
            await client.create_work_queue(EMERGENCY, work_pool_name=workspace.own, priority=1)
            return
        if queue.priority != 1:
            await client.update_work_queue(queue.id, priority=1)


async def make_limits(catalogue: Catalogue, workspace: WorkspaceNames = DEFAULT) -> None:
    async with get_client() as client:
        for name in {workspace.limit(target) for target in catalogue.targets} - await limits_there(client):
            await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=AT_ONE_TARGET))


async def limits_there(client: PrefectClient) -> set[str]:
    """The names of the server's limits."""
    names, page = set[str](), ["first"]
    while page:
        page = [limit.name for limit in await client.read_global_concurrency_limits(limit=200, offset=len(names))]
        names.update(page)
    return names


def deploy(file: Path) -> None:
    """Register every deployment of ``file``. Raises Invalid with the end of Prefect's output."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split()[-40:]).rstrip(".")
        raise Invalid(
            "deploy", str(file), words, "Correct prefect.yaml, then run `keyturn setup prefect --apply` again"
        )


async def withdraw_deployments(
    unneeded: Set[str], progress: Callable[[str], None], workspace: WorkspaceNames = DEFAULT
) -> None:
    """Remove the deployments that the catalogue doesn't need, such as those of a queue without a worker."""
    async with get_client() as client:
        for each in declared_file()["deployments"]:
            if is_unneeded(each, unneeded):
                with suppress(ObjectNotFound):
                    found = await client.read_deployment_by_name(workspace.deployed(each["name"]))
                    await client.delete_deployment(found.id)
                    queue = each["work_pool"]["work_queue_name"]
                    needless = f"the queue {queue}" if queue in unneeded else "it"
                    progress(f"removed the deployment {each['name']}: nothing here needs {needless}")


async def withdraw_schedules(workspace: WorkspaceNames = DEFAULT) -> None:
    async with get_client() as client:
        for flow, cron in SCHEDULES_WITHDRAWN.items():
            deployment = await client.read_deployment_by_name(workspace.deployed(flow))
            for listed in deployment.schedules:
                if getattr(listed.schedule, "cron", None) == cron and listed.id:
                    await client.delete_deployment_schedule(deployment.id, listed.id)


async def make_automations(failure_url: str | None, workspace: WorkspaceNames = DEFAULT) -> None:
    """Register the automations, and with a channel also those that report."""
    await put_automation(crash_automation(workspace))
    await put_automation(begun_automation(workspace))
    async with get_client() as client:
        rotate = await client.read_deployment_by_name(workspace.deployed("rotate-secret"))
        keeper = await client.read_deployment_by_name(workspace.deployed("keeper"))
    await put_automation(event_automation(rotate.id, workspace))
    for gone in WITHDRAWN:
        await remove_automation(workspace.automation(gone))
    if failure_url:
        block = FailureChannel(url=failure_url, notify_type="failure")
        channel = await block.asave(workspace.name, overwrite=True)
        await put_automation(failure_automation(channel, workspace))
        await put_automation(late_automation(channel, workspace))
        await put_automation(refused_automation(channel, workspace))
        await put_automation(objective_automation(channel, workspace))
        await put_automation(behind_automation(channel, workspace))
        await put_automation(unwitnessed_automation(channel, workspace))
        await put_automation(silence_automation(channel, keeper.id, workspace))
        await put_automation(waiting_automation(channel, workspace))
        await put_automation(unserved_automation(channel, workspace))
        ours = await own_resources([flow.replace("_", "-") for flow in FLOWS], workspace)
        await put_automation(edit_automation(channel, ours, workspace))


def failure_automation(channel: Any, workspace: WorkspaceNames = DEFAULT) -> Automation:
    return Automation(
        name=workspace.automation("report a failed run"),
        description="Sends the error's own words, which hold names and a remedy, never a value.",
        trigger=EventTrigger(
            expect=FAILED,
            match=RUNS,
            match_related=runs_of(workspace),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[notification(channel, SUBJECT, BODY, workspace)],
    )


def event_automation(rotate: Any, workspace: WorkspaceNames = DEFAULT) -> Automation:
    begin = workspace.resource(SECRET, "")
    parameters = {
        "path": {"__prefect_kind": "jinja", "template": filled("<path>", workspace)},
        "trigger": str(Trigger.EVENT),
    }
    return Automation(
        name=workspace.automation("rotate what an event asks for"),
        description=f"The event {REQUESTED} on the resource {begin}PATH runs rotate-secret for PATH.",
        trigger=EventTrigger(
            expect={REQUESTED},
            match=ResourceSpecification({"prefect.resource.id": workspace.resource(SECRET, "*")}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[RunDeployment(deployment_id=rotate, parameters=parameters)],
    )


def late_automation(channel: Any, workspace: WorkspaceNames = DEFAULT) -> Automation:
    """Report a late secret once a day: Prefect ignores events for ``within`` after firing."""
    return Automation(
        name=workspace.automation("report a late secret"),
        description="Sends why a secret should have been replaced by now, and what holds it.",
        trigger=EventTrigger(
            expect={LATE},
            match=ResourceSpecification({"prefect.resource.id": workspace.resource(SECRET, "*")}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=REMINDED,
        ),
        actions=[notification(channel, LATE_SUBJECT, LATE_BODY, workspace)],
    )


def refused_automation(channel: Any, workspace: WorkspaceNames = DEFAULT) -> Automation:
    return Automation(
        name=workspace.automation("report a login that is refused"),
        description="Sends since when a secret's CURRENT does not log in, or could not be tried.",
        trigger=EventTrigger(
            expect={REFUSED},
            match=ResourceSpecification({"prefect.resource.id": workspace.resource(SECRET, "*")}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=REMINDED,
        ),
        actions=[notification(channel, REFUSED_SUBJECT, REFUSED_BODY, workspace)],
    )


def objective_automation(channel: Any, workspace: WorkspaceNames = DEFAULT) -> Automation:
    return Automation(
        name=workspace.automation("report a missed objective"),
        description="Sends how long a revoked credential still worked, or since when that was not rehearsed.",
        trigger=EventTrigger(
            expect={MISSED},
            match=ResourceSpecification({"prefect.resource.id": workspace.resource(SECRET, "*")}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=REMINDED,
        ),
        actions=[notification(channel, MISSED_SUBJECT, MISSED_BODY, workspace)],
    )


def behind_automation(channel: Any, workspace: WorkspaceNames = DEFAULT) -> Automation:
    return Automation(
        name=workspace.automation("report a collector that is behind"),
        description="Sends which collector the ledger's entries don't reach, how many wait, and why.",
        trigger=EventTrigger(
            expect={BEHIND},
            match=ResourceSpecification({"prefect.resource.id": workspace.resource(LEDGER, "*")}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=BEHIND_AGAIN,
        ),
        actions=[notification(channel, BEHIND_SUBJECT, BEHIND_BODY, workspace)],
    )


def unwitnessed_automation(channel: Any, workspace: WorkspaceNames = DEFAULT) -> Automation:
    return Automation(
        name=workspace.automation("report a witness that does not cosign"),
        description="Sends which witness did not cosign the ledger's checkpoint, and why.",
        trigger=EventTrigger(
            expect={UNWITNESSED},
            match=ResourceSpecification({"prefect.resource.id": workspace.resource(LEDGER, "*")}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=BEHIND_AGAIN,
        ),
        actions=[notification(channel, UNWITNESSED_SUBJECT, UNWITNESSED_BODY, workspace)],
    )


async def put_automation(automation: Automation) -> None:
    """Make or replace an automation; an identical one keeps its event counts."""
    async with get_client() as client:
        existing = await client.read_automations_by_name(automation.name)
        if [content(present) for present in existing] == [content(automation)]:
            return
        for old in existing:
            await client.delete_automation(old.id)
    await automation.acreate()


async def remove_automation(name: str) -> None:
    async with get_client() as client:
        for old in await client.read_automations_by_name(name):
            await client.delete_automation(old.id)


def content(automation: Any) -> dict[str, Any]:
    return dict(automation.model_dump(include={"name", "description", "enabled", "trigger", "actions"}))
