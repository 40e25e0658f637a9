"""The revocation's lock on a secret's record, and its list of what stays dead."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from keyturn.core.compare_and_set import change_entry
from keyturn.core.errors import Conflict, Locked, Superseded
from keyturn.core.rotation_record import IN_FORCE, INCIDENT_NOTE, Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.incidents.incident import Incident, SecretProgress
from keyturn.rotation.preconditions import describe_move
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import current_entry
from keyturn.rotation.state.record_store import load_record, load_whatever, rewrite, update_record, without_lost

T = TypeVar("T")

CUTS: Final = uuid.UUID("3f0f6c0e-64a5-5d8e-8a0e-0c9d9a6f3b52")
"""Namespace of the cuts' tokens (RFC 9562, version 5), the same for every run."""

MOST_RAISES: Final = 5
"""Most increases of a record's number above the target's; a restored hub needs one."""

UNENDED: Final = frozenset({*IN_FORCE, Stage.CUTTING})
"""The stages in which a rotation may name a credential to end."""


def cut_token(incident: str, path: str) -> str:
    """The token of an incident's cut of a secret."""
    return str(uuid.uuid5(CUTS, f"{incident}\n{path}"))


def is_cut(rotation: Rotation) -> bool:
    """Whether it is a revocation's cut; the tokens of rotations are random (version 4)."""
    return uuid.UUID(rotation.token).version == CUTS.version


def closed_cut(record: Record, token: str) -> Rotation | None:
    """The closed cut with this token, or None."""
    return next((past for past in reversed(record.history) if past.token == token), None)


def seize_record(workspace: Workspace, incident: Incident, progress: SecretProgress) -> Record:
    """Take the secret's record from any holder, and refuse every other run. Taken before is success.

    An unreadable record is overwritten, and lost values are left out.
    """
    path, token = progress.path, cut_token(incident.id, progress.path)

    def seized(record: Record) -> Record | None:
        mine = record.rotation is not None and record.rotation.token == token
        # A secret is cut only once: by now a new credential may be in force.
        if progress.cut_at or mine or closed_cut(record, token):
            return None
        # Read again after each write of another run, because its last state must be ended too.
        return record.seized(cut_rotation(workspace, incident, path, record), incident.id)

    return update_record(workspace, path, seized, lambda *where: without_lost(load_whatever(*where)))


def cut_rotation(workspace: Workspace, incident: Incident, path: str, record: Record) -> Rotation:
    """The record's entry while credentials are ended, numbered above every earlier rotation."""
    interrupted = at_same_target(workspace, path, record.rotation)
    return Rotation(
        token=cut_token(incident.id, path),
        sequence=record.next_sequence(),
        stage=Stage.CUTTING,
        strategy=workspace.secret(path).rotation.strategy,
        reason="Revoked",
        holder=workspace.holder,
        opened_at=workspace.clock(),
        base_version=newest_version(workspace, path),
        ends=interrupted.ends if interrupted and interrupted.stage in UNENDED else {},
        note=f"{INCIDENT_NOTE}{incident.id}",
        target=workspace.target(path),
        urgent=True,
    )


def at_same_target(workspace: Workspace, path: str, rotation: Rotation | None) -> Rotation | None:
    """The rotation, if the catalogue still names its target, else None."""
    return rotation if rotation and not describe_move(workspace, path, rotation) else None


def newest_version(workspace: Workspace, path: str) -> int:
    """The number of the hub's newest version, 0 without one."""
    info = workspace.hub.describe(path)
    return info.version if info else 0


@dataclass
class HeldRecord:
    """A secret's record that a revocation holds, with a number that can rise."""

    workspace: Workspace
    path: str
    record: Record

    def above(self, credential: SecretFields, end: Callable[[int], T]) -> T:
        """Return the result of ``end`` with a number that the target accepts.

        After a restore or a lost record, the target refuses the record's number. Raises Superseded where another run
        continued from the record: a replacement may be in force.
        """
        for raised in range(MOST_RAISES + 1):
            number = self.record.rotation.sequence if self.record.rotation else 0
            try:
                return end(number)
            except Superseded:
                stands = self.workspace.open_strategy(self.path).last_sequence([credential])
                if raised == MOST_RAISES or stands <= number or not self._raised(stands):
                    raise
        raise AssertionError("unreachable")

    def _raised(self, stands: int) -> bool:
        rotation = self.record.rotation
        if rotation is None:
            return False
        higher = replace(self.record, rotation=replace(rotation, sequence=self.record.next_sequence(stands)))
        try:
            self.record = rewrite(self.workspace, self.path, higher)
        except Conflict:
            return False
        return True


def interrupted_rotation(record: Record, path: str) -> Rotation | None:
    """The interrupted rotation, also through interrupted cuts; else None."""
    taker = record.rotation
    for past in reversed(record.history):
        if (
            taker is None
            or past.stage is not Stage.CUT
            or cut_token(past.note.removeprefix(INCIDENT_NOTE), path) != taker.token
        ):
            return None
        if not is_cut(past):
            return past
        taker = past
    return None


def insist_unchanged(workspace: Workspace, path: str, record: Record) -> None:
    """Check that the record is unchanged, to spare a later run's value. Raises Locked."""
    if load_record(workspace, path).version != record.version:
        hint = "Nothing to do: it continues by itself"
        raise Locked("end", path, "another run has ended its credentials meanwhile", hint)


def rewrite_current(workspace: Workspace, path: str) -> None:
    """Write CURRENT again unchanged, to refuse a pending write over it."""
    change_entry(current_entry(workspace, path), lambda current: current, workspace.pause)


def release_record(
    workspace: Workspace, path: str, record: Record, last: int, rest: SecretFields | None = None
) -> None:
    """Record that all is ended, up to the hub's version ``last``. Released before is success.

    The next candidate is merged into ``rest`` where the newest version can't be read.
    """
    if record.rotation is None:
        return
    over = record.rotation.to(Stage.CUT, closed_at=workspace.clock(), base_version=last)
    with suppress(Conflict):  # another run of this incident was faster, or another incident has taken it
        rewrite(workspace, path, replace(record.having(over), rest=record.rest or rest))
