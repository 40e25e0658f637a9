"""Rotate one secret in every place.

:mod:`keyturn.rotation.protocol` selects the next task, also for commands without Prefect.
"""

from datetime import timedelta
from typing import Annotated

from flows.support.common import flow, well, workspace
from flows.support.pictures import draw
from flows.support.report import rotation_table
from keyturn.core.schedule.due import Trigger
from keyturn.project.runs.form import form
from keyturn.project.runs.result import leave_result
from keyturn.rotation import protocol
from keyturn.rotation.outcome import Outcome, unsettled
from keyturn.rotation.report import outcome_data
from tasks import rotation as steps

SecretField = Annotated[str, form("Secret", "Such as ml-training/database.")]
TriggerField = Annotated[
    Trigger,
    form(
        "Trigger",
        "force: now, whatever schedule, window and freeze say. schedule: only if it is due. "
        "event: as soon as window and freezes allow. compromise: now, and the old one waits for no grace.",
    ),
]
EndPreviousField = Annotated[
    bool,
    form("End the credential before", "It ends now, even if it is in use; otherwise it holds the rotation back."),
]
GroundField = Annotated[
    int | None, form("From version", "If CURRENT is missing: the version that the next one is based on.")
]
ChangeAccountField = Annotated[
    bool, form("Change the account", "Away from an account that the catalogue names no more.")
]


@flow("rotate-secret", "rotate-{path}", timeout=timedelta(hours=4))
async def rotate_secret(
    path: SecretField,
    trigger: TriggerField = Trigger.FORCE,
    end_previous: EndPreviousField = False,
    ground: GroundField = None,
    change_account: ChangeAccountField = False,
) -> Outcome:
    """Replace one secret. Safe to run again: every step first checks whether it is complete.

    The default ``trigger`` rotates now, with every guard. The credential before the last rotation blocks it while
    something may need it; with ``end_previous`` that credential ends now. If CURRENT is missing, ``ground`` names the
    version whose fields the next one extends. ``change_account`` allows a move away from an account that the catalogue
    no longer names.
    """
    opened = await workspace()
    rotation = protocol.rotate(
        opened.catalogue, path, trigger, end_previous=end_previous, ground=ground, change_account=change_account
    )
    outcome = await steps.run_steps(
        rotation,
        path,
        # Is it due, and may it begin?
        *(steps.decide, steps.guard, steps.lay_ground, steps.make_way),
        # A new credential: generated, accepted by the target, tested there, CURRENT in the hub.
        *(steps.stage, steps.install, steps.verify, steps.promote, steps.decide_again),
        # Every copy in every cloud.
        *(steps.find_places, steps.push, steps.restart),
        # Every application, the canary first.
        *(steps.notify, steps.health, steps.pass_canary, steps.conclude, steps.find_promoted),
        # The old credential: ended at once, or put back in force where the canary is not healthy.
        *(steps.retire, steps.describe_previous, steps.take_back, steps.finish_taking_back),
    )
    if outcome.promoted:
        await rotation_table(outcome)
        await draw({path: outcome.destinations}, {path: outcome.previous}, {path: outcome.turned})
    await leave_result(outcome_data(outcome))
    if error := unsettled(outcome):
        raise error
    return well(outcome.headline, outcome)
