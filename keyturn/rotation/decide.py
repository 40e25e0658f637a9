"""Decide from metadata alone whether to rotate now."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from keyturn.core.errors import CandidateRejected, CertainRefusal, Missing
from keyturn.core.ports.hub import EXPIRES_AT, RENEW_AT, SUSPECTED_AT, TOKEN, WANTED_AT, HubSecret, SecretInfo
from keyturn.core.rotation_record import Record, Stage
from keyturn.core.schedule.due import Facts, Freeze, Reason, Trigger, alarm, due, outlook
from keyturn.core.schedule.windows import told
from keyturn.rotation.copies.lineage_check import ledger_versions, lost_end
from keyturn.rotation.grace import pause_after
from keyturn.rotation.repair.missing_current import describe_missing, insist_on_current
from keyturn.rotation.repair.record_upkeep import move_values
from keyturn.rotation.repair.recoverable_values import alive
from keyturn.rotation.repair.suspect_versions import doubt
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.quiet_period import Listing
from keyturn.rotation.state.record_store import load_record, promoted_last

UNFINISHED: Final = Reason("Unfinished", "an earlier run was interrupted")

CANDIDATES: Final = 3
"""How many candidates in a row a target may refuse before a person has to check."""

MARKS: Final = {Trigger.EVENT: WANTED_AT, Trigger.COMPROMISE: SUSPECTED_AT}
"""Saved at once, so that they survive a crash or a freeze."""

BY_HAND: Final = (Trigger.FORCE, Trigger.COMPROMISE)


@dataclass(frozen=True)
class Decision:
    """The reason to rotate, if any, and the hub version that the decision used.

    ``unsettled`` is the promoted rotation that is not retired; ``telling``: some of its consumers have not
    acknowledged. ``urgent`` ignores failures that can be fixed later. ``reverting`` finishes a rollback first.
    ``refusals`` is the limit of refused candidates in a row. ``by_hand``: a person asks, and with ``changes_account``
    allows another account.
    """

    reason: Reason | None
    seen: int
    unsettled: str | None = None
    telling: bool = False
    urgent: bool = False
    reverting: bool = False
    refusals: int = CANDIDATES
    by_hand: bool = False
    changes_account: bool = False
    next_at: datetime | None = None
    """When it becomes due, where it is not due now."""
    held: str = ""
    """The revocation that holds the secret, or wants no new value; empty for none."""

    @property
    def waits(self) -> str:
        """What it waits for, where there is no reason now."""
        if self.held:
            return self.held
        return f"next on {told(self.next_at)}" if self.next_at else "nothing to do"

    @property
    def words(self) -> str:
        """The decision in one line."""
        return self.reason.message if self.reason else f"not due: {self.waits}"

    @property
    def work(self) -> bool:
        """Whether a run has work that no other flow does."""
        return self.reason is not None or self.telling


@dataclass(frozen=True)
class Sighting:
    """One secret in a fleet's run: whether there is work, and any alarm."""

    path: str
    work: bool
    alarm: str = ""


@dataclass(frozen=True)
class SecretStatus:
    """The hub's data on a secret, with CURRENT where that was read."""

    info: SecretInfo | None
    record: Record
    current: HubSecret | None = field(default=None, repr=False)

    @property
    def version(self) -> int:
        """The newest version's number, 0 for none."""
        return self.info.version if self.info else 0


def decide(workspace: Workspace, path: str, trigger: Trigger) -> Decision:
    """Whether to rotate now. An unfinished run always continues.

    Raises CandidateRejected after too many refused candidates, unless a person asks, and Missing where CURRENT existed
    and can't be read.
    """
    return decide_on(workspace, path, trigger)[0]


def decide_on(
    workspace: Workspace, path: str, trigger: Trigger, *, reading: bool = False
) -> tuple[Decision, SecretStatus]:
    """The decision and its input; with CURRENT if ``reading``, which saves a later read."""
    with record_action(workspace, "decide", path, changes=False) as doing:
        stands = look_up(workspace, path, reading=reading)
        decision = decided(workspace, path, trigger, stands)
        doing.version = decision.seen
        doing.note = decision.reason.message if decision.reason else decision.held or "nothing to do"
    return decision, stands


def decided(workspace: Workspace, path: str, trigger: Trigger, stands: SecretStatus) -> Decision:
    """The decision on a known status."""
    if _held(stands.record, trigger):
        held = f"the revocation {stands.record.frozen} holds it"
        return Decision(None, stands.version, by_hand=trigger in BY_HAND, held=held)
    insist_on_current(path, stands.info, stands.record)
    if stands.record.open:
        reverting = stands.record.open.stage is Stage.REVERTING
        return Decision(UNFINISHED, stands.version, reverting=reverting, by_hand=trigger in BY_HAND)
    ended = trigger in BY_HAND and may_have_leaked(workspace, path)
    stands = _remember(workspace, path, trigger, stands)
    circumstances = facts(workspace, path, trigger, stands)
    reason, retiring = due(circumstances), stands.record.retiring
    if reason and trigger not in BY_HAND:
        insist_on_room(path, stands.record)
    return Decision(
        reason,
        stands.version,
        retiring.token if retiring else None,
        telling=retiring is not None and not set(workspace.secret(path).consumers) <= set(retiring.acknowledged),
        urgent=circumstances.suspected_at is not None or ended,
        refusals=CANDIDATES + (stands.record.refusals if trigger in BY_HAND else 0),
        by_hand=trigger in BY_HAND,
        next_at=None if reason else outlook(circumstances).at,
    )


def may_have_leaked(workspace: Workspace, path: str) -> bool:
    """Whether CURRENT may have leaked: then it gets no grace period once it is replaced.

    True where the hub has lost a revocation that the ledger contains, or was restored and CURRENT does not log in.
    """
    if lost_end(workspace, path, ledger_versions(workspace, [path]).of.get(path)):
        return True
    if doubt(workspace, path) is None:
        return False
    current = workspace.hub.read(path)
    return current is not None and not alive(workspace, path, current.fields)


def _held(record: Record, trigger: Trigger) -> bool:
    """Whether a revocation is in progress, or wants no new value until a person rotates the secret."""
    cutting = record.open is not None and record.open.stage is Stage.CUTTING
    return cutting or (bool(record.frozen) and record.open is None and trigger not in BY_HAND)


def sight(workspace: Workspace, path: str, listed: Listing | None = None) -> Sighting:
    """One secret in a fleet's run; one that waits for a person counts as work.

    ``listed`` is the hub's listing of all secrets, which saves a read.
    """
    stands = look_up(workspace, path, listed)
    if stands.record.exposed:
        move_values(workspace, path)
        stands = look_up(workspace, path)
    late = alarm(facts(workspace, path, Trigger.SCHEDULE, stands))
    gone = describe_missing(stands.info, stands.record)
    try:
        work = decided(workspace, path, Trigger.SCHEDULE, stands).work
    except (CandidateRejected, Missing):
        work = True
    return Sighting(path, work, gone or (late.message if late else ""))


def decide_again(workspace: Workspace, path: str, trigger: Trigger, decision: Decision) -> Decision | None:
    """The decision after a refused candidate; None after too many, or where every other would be refused."""
    record = load_record(workspace, path)
    if record.refused_for_certain or record.refusals >= decision.refusals:
        return None
    again = decide(workspace, path, trigger)
    return (
        replace(again, refusals=decision.refusals, changes_account=decision.changes_account) if again.reason else None
    )


def facts(workspace: Workspace, path: str, trigger: Trigger, stands: SecretStatus) -> Facts:
    """All facts that decide about one secret."""
    info, retiring = stands.info, stands.record.retiring
    taken_back = retiring if retiring and retiring.stage is Stage.REVERTED else None
    waits_until = pause_after(workspace, path, taken_back) if taken_back else None
    return Facts(
        path,
        workspace.secret(path).rotation.schedule,
        workspace.clock(),
        info.rotated_at if info else None,
        trigger,
        expires_at=info.marked(EXPIRES_AT) if info else None,
        wanted_at=info.asked(WANTED_AT) if info else None,
        suspected_at=info.asked(SUSPECTED_AT) if info else None,
        waits_until=waits_until,
        renew_at=info.asked(RENEW_AT) if info else None,
        freezes=freezes(workspace, path),
    )


def freezes(workspace: Workspace, path: str) -> Sequence[Freeze]:
    """The calendar's freezes of this secret."""
    return workspace.catalogue.freezes_of(path)


def look_up(workspace: Workspace, path: str, listed: Listing | None = None, *, reading: bool = False) -> SecretStatus:
    """The secret's metadata and a matching record; with CURRENT if ``reading``."""
    current = workspace.hub.read(path) if reading else None
    info = listed.info(path) if listed else (current and current.info) or workspace.hub.describe(path)
    # Only a secret without a served value needs the whole record.
    record = listed.load(path, whole=info is None or not info.served) if listed else load_record(workspace, path)
    if outdated(info, record):
        return SecretStatus(workspace.hub.describe(path), record)
    return SecretStatus(info, record, current)


def outdated(info: SecretInfo | None, record: Record) -> bool:
    """Whether another run may have promoted between the reads of ``info`` and ``record``."""
    last = promoted_last(record)
    if record.open or last is None or last.version is None:
        return False
    return info is None or (info.version <= last.version and info.custom.get(TOKEN) != last.token)


def _remember(workspace: Workspace, path: str, trigger: Trigger, stands: SecretStatus) -> SecretStatus:
    """Save the request for a replacement, unless it is already saved."""
    name, info = MARKS.get(trigger), stands.info
    by_hand = workspace.secret(path).rotation.schedule.by_hand
    if name is None or info is None or info.asked(name) or by_hand:
        return stands
    mark = {name: f"{info.promoted_by} {workspace.clock().isoformat()}"}
    workspace.hub.patch_metadata(path, mark)
    return replace(stands, info=replace(info, custom={**info.custom, **mark}))


def insist_on_room(path: str, record: Record) -> None:
    """Raises the error that stops retries against a target that keeps refusing candidates."""
    hint = f"Fix the cause, then run `keyturn rotate {path} --now`"
    if last := record.refused_for_certain:
        problem = f"the target, or a copy, would refuse every candidate like the last: {last.note}"
        raise CertainRefusal("rotate", path, problem, hint)
    if record.refusals >= CANDIDATES:
        problem = f"the target, or a copy, has refused {record.refusals} candidates in a row, the last one with: "
        raise CandidateRejected("rotate", path, problem + record.history[-1].note, hint)
