"""Automations for missing events: a silent run, no rounds of the keeper, work without a worker."""

from datetime import timedelta
from typing import Any, Final

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from deployments.texts import notification
from keyturn.core.workspaces import WorkspaceNames
from keyturn.project.runs.heartbeat import BEAT, HEARTBEAT

DEFAULT: Final = WorkspaceNames()

SILENCE: Final = timedelta(seconds=3 * BEAT)
"""Three missed heartbeats: a run without a process sends none."""

RUNS: Final = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
RUNNING: Final = "prefect.flow-run.Running"
FAILED: Final = {f"prefect.flow-run.{state}" for state in ("Failed", "TimedOut", "Crashed")}
ENDED: Final = {"prefect.flow-run.Completed", "prefect.flow-run.Cancelled", *FAILED}
TAKEN: Final = {"prefect.flow-run.Pending", RUNNING, *ENDED}

BEGINS_WITHIN: Final = timedelta(minutes=5)
"""A run that a worker took starts within a minute, even on a busy machine."""
BEGINNING: Final = {"prefect.flow-run.Pending", "prefect.flow-run.Submitting"}
WAITING: Final = {f"prefect.flow-run.{state}" for state in ("Scheduled", "AwaitingConcurrencySlot", "AwaitingRetry")}
"""A run that lacked a concurrency slot waits again."""

NOBODY_LOOKS: Final = timedelta(minutes=30)
LATE_FOR: Final = timedelta(minutes=2)

SILENT_SUBJECT: Final = "<called>: no process checks what is due"
SILENT_BODY: Final = """\
For 30 minutes no run of <keeper> has ended: no secret is rotated, and no other background work is done.

Remedy: check that the schedule is not paused, and that a worker serves the queue `default` of the pool `<pool>`. \
Meanwhile `keyturn rotate PATH --local` rotates without Prefect. While this continues it is sent every 30 minutes.
"""
WAITING_SUBJECT: Final = "<called>: {{ flow_run.name }} waits for a worker"
WAITING_BODY: Final = """\
No worker has begun it, nor any other run of {{ deployment.name }}, for two minutes.

Remedy: see that a worker serves its queue, {{ work_queue.name }}, and has places left. A revocation needs none: \
`keyturn revoke PATH --local`.
Run: {{ flow_run | ui_url }}
"""
UNSERVED_SUBJECT: Final = "<called>: no worker serves the queue {{ event.resource.name }}"
UNSERVED_BODY: Final = """\
No worker has polled it for more than two minutes.

Remedy: start its worker: `prefect worker start --pool <pool> --work-queue {{ event.resource.name }} \
--type keyturn`. It is sent once; the runs that wait for it are reported separately.
"""


def runs_of(workspace: WorkspaceNames) -> ResourceSpecification:
    return ResourceSpecification(
        {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{workspace.own}"}
    )


def crash_automation(
    workspace: WorkspaceNames = DEFAULT, within: timedelta = SILENCE, runs: ResourceSpecification | None = None
) -> Automation:
    return crashes(
        workspace.automation("a silent run is crashed"),
        "A run that stopped sending heartbeats has lost its process.",
        after={RUNNING, HEARTBEAT},
        expect={HEARTBEAT, *ENDED},
        runs=runs or runs_of(workspace),
        within=within,
        message="The run's process sends no heartbeat any more.",
    )


def begun_automation(
    workspace: WorkspaceNames = DEFAULT, within: timedelta = BEGINS_WITHIN, runs: ResourceSpecification | None = None
) -> Automation:
    """Crash a run whose worker died before starting it."""
    return crashes(
        workspace.automation("a run that never began is crashed"),
        "A worker has taken a run, and it has not begun for five minutes.",
        after=BEGINNING,
        expect={*BEGINNING, RUNNING, *ENDED, *WAITING},
        runs=runs or runs_of(workspace),
        within=within,
        message="Its worker has taken it, and never begun it.",
    )


def crashes(
    name: str,
    description: str,
    *,
    after: set[str],
    expect: set[str],
    runs: ResourceSpecification,
    within: timedelta,
    message: str,
) -> Automation:
    """Crash a run if no ``expect`` event arrives within this time ``after`` one of these events."""
    return Automation(
        name=name,
        description=description,
        trigger=EventTrigger(
            after=after,
            expect=expect,
            match=RUNS,
            match_related=runs,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def silence_automation(
    channel: Any, keeper: Any, workspace: WorkspaceNames = DEFAULT, within: timedelta = NOBODY_LOOKS
) -> Automation:
    """Report that no run of the keeper has ended; a failed run counts as ended."""
    return Automation(
        name=workspace.automation("report that nothing checks for due work"),
        description="No run of the keeper has ended for 30 minutes: paused, without a worker, or stuck.",
        trigger=EventTrigger(
            expect=ENDED - {"prefect.flow-run.Cancelled"},
            match=RUNS,
            match_related=ResourceSpecification({"prefect.resource.id": f"prefect.deployment.{keeper}"}),
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[notification(channel, SILENT_SUBJECT, SILENT_BODY, workspace)],
    )


def waiting_automation(channel: Any, workspace: WorkspaceNames = DEFAULT, within: timedelta = LATE_FOR) -> Automation:
    """Report late runs that no worker takes, for each deployment."""
    return Automation(
        name=workspace.automation("report runs that do not start"),
        description="A run is late, and no worker has taken it or another of its deployment.",
        trigger=EventTrigger(
            after={"prefect.flow-run.Late"},
            expect=TAKEN,
            match=RUNS,
            match_related=runs_of(workspace),
            for_each={"related:deployment:prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[notification(channel, WAITING_SUBJECT, WAITING_BODY, workspace)],
    )


def unserved_automation(channel: Any, workspace: WorkspaceNames = DEFAULT, within: timedelta = LATE_FOR) -> Automation:
    """Report a queue that lost its workers. Late runs reveal a queue that never had one."""
    role = {"prefect.resource.role": "work-pool", "prefect.resource.name": workspace.own}
    return Automation(
        name=workspace.automation("report a queue without a worker"),
        description="The worker of a queue is gone, and none has come in its place.",
        trigger=EventTrigger(
            after={"prefect.work-queue.not-ready"},
            expect={"prefect.work-queue.ready"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.work-queue.*"}),
            match_related=ResourceSpecification(role),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[notification(channel, UNSERVED_SUBJECT, UNSERVED_BODY, workspace)],
    )
