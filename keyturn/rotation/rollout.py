"""Notify consumers of a promoted version in waves: a canary first, and the rest once it is healthy."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from keyturn.catalogue.models import Secret
from keyturn.core.errors import KeyturnError, Superseded
from keyturn.core.rotation_record import IN_FORCE, Record, Rotation, Stage
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import update_record

ACKNOWLEDGED: Final = "acknowledged"
HANDED_OVER: Final = "delivered; no health endpoint"
"""The result of a notice: acknowledged by the consumer, or accepted by its carrier."""


@dataclass(frozen=True)
class Acknowledgement:
    """The result of one notice; ``error`` is empty when the consumer acknowledged.

    For a consumer without ``answers``, when its notice was handed over: its own state is unknown.
    """

    consumer: str
    error: str = ""
    answers: bool = True
    kind: str = ""
    """The class of the error; empty without one."""

    @property
    def words(self) -> str:
        """The result, for people."""
        return self.error or (ACKNOWLEDGED if self.answers else HANDED_OVER)


def canary(secret: Secret, rotation: Rotation) -> tuple[str, ...]:
    """The consumers that must be healthy before others are notified; empty once they were.

    Also empty for a rollback and for the replacement of a suspected credential, which notify all at once.
    """
    rollout = secret.rollout
    if rollout is None or rotation.stage is not Stage.PROMOTED or rotation.canary_passed or rotation.urgent:
        return ()
    return rollout.canary


def silent(acknowledgements: Iterable[Acknowledgement]) -> str:
    """The canary consumers that did not acknowledge, in words; empty when all did."""
    failed = [f"{consumer.consumer} ({consumer.error})" for consumer in acknowledgements if consumer.error]
    return f"the canary did not take it: {', '.join(failed)}" if failed else ""


def unwell(workspace: Workspace, consumers: Iterable[str]) -> str:
    """The unhealthy ones of these consumers, in words; empty for none."""
    failed = [problem for problem in side_by_side(lambda consumer: health(workspace, consumer), consumers) if problem]
    return f"the canary is not well: {', '.join(failed)}" if failed else ""


def health(workspace: Workspace, consumer: str) -> str:
    """What is wrong with a consumer; empty when it is healthy."""
    try:
        with record_action(workspace, "health", place=consumer, changes=False):
            workspace.sender.check_health(consumer)
    except KeyturnError as error:
        return f"{consumer} ({error})"
    return ""


def notify_again(workspace: Workspace, path: str, rotation: Rotation, consumers: Iterable[str]) -> None:
    """Notify the silent ones of these in parallel, and save the acknowledgements."""
    answers = side_by_side(lambda consumer: notify_consumer(workspace, path, rotation, consumer), consumers)
    if heard := [answer.consumer for answer in answers if not answer.error]:
        acknowledge(workspace, path, rotation.token, heard)


def notify_consumer(workspace: Workspace, path: str, rotation: Rotation, consumer: str) -> Acknowledgement:
    """Notify one consumer; silence is part of the result. Already acknowledged is success."""
    answers = workspace.catalogue.consumer(consumer).answers
    if consumer in rotation.acknowledged:
        return Acknowledgement(consumer, answers=answers)
    if rotation.version is None or rotation.promoted_at is None:
        return Acknowledgement(consumer, "the rotation is not promoted yet", answers)
    error = deliver(workspace, consumer, path, rotation.version, rotation.fingerprint, rotation.promoted_at)
    return Acknowledgement(consumer, str(error) if error else "", answers, type(error).__name__ if error else "")


def deliver(
    workspace: Workspace, consumer: str, path: str, version: int, fingerprint: str, at: datetime, *, made: bool = False
) -> KeyturnError | None:
    """Notify one consumer of a version and record that; returns the error, if any.

    See :class:`keyturn.rotation.state.context.Sender`.
    """
    try:
        with record_action(workspace, "notify", path, place=consumer, changes=False) as doing:
            doing.version, doing.fingerprint = version, fingerprint
            workspace.sender.deliver(consumer, path, version, at, made=made)
            doing.note = "" if workspace.catalogue.consumer(consumer).answers else HANDED_OVER
    except KeyturnError as error:
        return error
    return None


def conclude(workspace: Workspace, path: str, token: str, consumers: Iterable[str], in_step: bool) -> None:
    """Like :func:`acknowledge`. Raises Superseded where another run ended the rotation without retiring it.

    Then another value is in force than the caller believes.
    """
    record = acknowledge(workspace, path, token, consumers, in_step)
    rotations = [*record.history, *([record.rotation] if record.rotation else [])]
    if not any(past.token == token and past.stage in (*IN_FORCE, Stage.RETIRED) for past in rotations):
        raise Superseded("conclude", path, f"rotation {token} is over", "A newer run is in charge: see its own report")


def acknowledge(workspace: Workspace, path: str, token: str, consumers: Iterable[str], in_step: bool = False) -> Record:
    """Save who acknowledged rotation ``token``, and that all copies are now in sync (``in_step``).

    A rotation that is over is not changed. Returns the record.
    """
    heard, now = set(consumers), workspace.hub_now() if in_step else None

    def lay(rotation: Rotation) -> Rotation:
        acknowledged = tuple(sorted({*rotation.acknowledged, *heard}))
        return replace(rotation, acknowledged=acknowledged, grace_from=rotation.grace_from or now)

    return note(workspace, path, token, lay)


def pass_canary(workspace: Workspace, path: str, token: str) -> None:
    """Save that the canary is healthy, so that a later run notifies the rest at once."""
    note(workspace, path, token, lambda rotation: replace(rotation, canary_passed=True))


def note(workspace: Workspace, path: str, token: str, change: Callable[[Rotation], Rotation]) -> Record:
    """Apply a change to the record of rotation ``token`` by compare-and-set; one that is over is not changed.

    Returns the record.
    """

    def laid(record: Record) -> Record | None:
        rotation = record.retiring
        changed = change(rotation) if rotation and rotation.token == token else rotation
        return None if changed is None or changed == rotation else record.having(changed)

    return update_record(workspace, path, laid)
