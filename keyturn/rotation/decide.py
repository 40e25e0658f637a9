"""Whether to rotate now, told from metadata alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from keyturn.core.errors import CandidateRejected, CertainRefusal, Missing
from keyturn.core.ports.hub import EXPIRES_AT, RENEW_AT, SUSPECTED_AT, TOKEN, WANTED_AT, HubSecret, SecretInfo
from keyturn.core.record import Record, Stage
from keyturn.core.schedule.policy import Facts, Freeze, Reason, Trigger, alarm, due, outlook
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
from keyturn.rotation.state.records import load_record, promoted_last

UNFINISHED: Final = Reason("Unfinished", "an earlier run was interrupted")

CANDIDATES: Final = 3
"""How many candidates in a row a target may refuse before a person has to look."""

MARKS: Final = {Trigger.EVENT: WANTED_AT, Trigger.COMPROMISE: SUSPECTED_AT}
"""What is written down at once, so that it is not forgotten should the run die, or a freeze hold it."""

BY_HAND: Final = (Trigger.FORCE, Trigger.COMPROMISE)


@dataclass(frozen=True)
class Decision:
    """Why to rotate, None when there is no reason; and the hub version that this was decided on.

    ``unsettled`` names the rotation that is promoted and whose old credential is not retired yet, ``telling``
    says that its consumers are not all told. ``urgent`` does not wait for what can be mended later, ``reverting``
    finishes taking a rotation back, whatever is due. The run gives up once ``refusals`` candidates in a row
    were refused. ``by_hand`` says that a person asks,
    ``changes_account`` that he lets it move away from an account that the catalogue names no more.
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
    """When it is due, where there is no reason now and something will make it due."""
    held: str = ""
    """The revocation that is at the secret, or wants it left without a new value; empty where none does."""

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
        """Whether a run has anything to do that no other flow does."""
        return self.reason is not None or self.telling


@dataclass(frozen=True)
class Sighting:
    """One secret as a fleet's run sees it: whether there is work, and what is alarming about it."""

    path: str
    work: bool
    alarm: str = ""


@dataclass(frozen=True)
class SecretStatus:
    """What the hub tells of a secret, and CURRENT itself where the look read that."""

    info: SecretInfo | None
    record: Record
    current: HubSecret | None = field(default=None, repr=False)

    @property
    def version(self) -> int:
        """The newest version's number, 0 where there is none."""
        return self.info.version if self.info else 0


def decide(workspace: Workspace, path: str, trigger: Trigger) -> Decision:
    """Whether to rotate now. What an earlier run left open always goes on.

    Raises CandidateRejected when the target has refused too many candidates in a row, unless a person asks, and Missing
    where CURRENT was there and can't be read.
    """
    return decide_on(workspace, path, trigger)[0]


def decide_on(
    workspace: Workspace, path: str, trigger: Trigger, *, reading: bool = False
) -> tuple[Decision, SecretStatus]:
    """The same, and what it was decided on: where it is ``reading``, with CURRENT, which spares a look at it later."""
    with record_action(workspace, "decide", path, changes=False) as doing:
        stands = look_up(workspace, path, reading=reading)
        decision = decided(workspace, path, trigger, stands)
        doing.version = decision.seen
        doing.note = decision.reason.message if decision.reason else decision.held or "nothing to do"
    return decision, stands


def decided(workspace: Workspace, path: str, trigger: Trigger, stands: SecretStatus) -> Decision:
    """The decision, on what has been looked up."""
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
    """Whether CURRENT has leaked as far as anybody knows: then it gets no grace once it is replaced.

    The ledger tells of its end and the hub has lost that, or the hub was restored and CURRENT does not log in.
    """
    if lost_end(workspace, path, ledger_versions(workspace, [path]).of.get(path)):
        return True
    if doubt(workspace, path) is None:
        return False
    current = workspace.hub.read(path)
    return current is not None and not alive(workspace, path, current.fields)


def _held(record: Record, trigger: Trigger) -> bool:
    """Whether a revocation is at the secret, or wants it left without a new value until a person rotates it."""
    cutting = record.open is not None and record.open.stage is Stage.CUTTING
    return cutting or (bool(record.frozen) and record.open is None and trigger not in BY_HAND)


def sight(workspace: Workspace, path: str, listed: Listing | None = None) -> Sighting:
    """One secret as a fleet's run sees it; one that waits for a person is among the work, to say so.

    ``listed`` is what the hub's listings told of all secrets, which spares a look at this one.
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
    """After a candidate was refused: the decision for another one, None once there were enough, or none would do."""
    record = load_record(workspace, path)
    if record.refused_for_certain or record.refusals >= decision.refusals:
        return None
    again = decide(workspace, path, trigger)
    return (
        replace(again, refusals=decision.refusals, changes_account=decision.changes_account) if again.reason else None
    )


def facts(workspace: Workspace, path: str, trigger: Trigger, stands: SecretStatus) -> Facts:
    """All that decides about one secret."""
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
    """The freezes of the calendar that hold this secret."""
    return workspace.catalogue.freezes_of(path)


def look_up(workspace: Workspace, path: str, listed: Listing | None = None, *, reading: bool = False) -> SecretStatus:
    """The secret's metadata and its record, of one moment as far as it matters; ``reading`` tells CURRENT as well."""
    current = workspace.hub.read(path) if reading else None
    info = listed.info(path) if listed else (current and current.info) or workspace.hub.describe(path)
    # A secret that serves no value may need to know what its record tells of it.
    record = listed.load(path, whole=info is None or not info.served) if listed else load_record(workspace, path)
    if outdated(info, record):
        return SecretStatus(workspace.hub.describe(path), record)
    return SecretStatus(info, record, current)


def outdated(info: SecretInfo | None, record: Record) -> bool:
    """Whether another run may have promoted after ``info`` was read and before ``record`` was."""
    last = promoted_last(record)
    if record.open or last is None or last.version is None:
        return False
    return info is None or (info.version <= last.version and info.custom.get(TOKEN) != last.token)


def _remember(workspace: Workspace, path: str, trigger: Trigger, stands: SecretStatus) -> SecretStatus:
    """Write down that somebody wants this credential replaced, unless that stands there already."""
    name, info = MARKS.get(trigger), stands.info
    by_hand = workspace.secret(path).rotation.schedule.by_hand
    if name is None or info is None or info.asked(name) or by_hand:
        return stands
    mark = {name: f"{info.promoted_by} {workspace.clock().isoformat()}"}
    workspace.hub.patch_metadata(path, mark)
    return replace(stands, info=replace(info, custom={**info.custom, **mark}))


def insist_on_room(path: str, record: Record) -> None:
    """A target that refuses whatever it is given is not asked for ever, nor again where it is certain to refuse."""
    hint = f"Mend the cause, then run `keyturn rotate {path} --now`"
    if last := record.refused_for_certain:
        problem = f"the target, or a copy, would refuse every candidate like the last: {last.note}"
        raise CertainRefusal("rotate", path, problem, hint)
    if record.refusals >= CANDIDATES:
        problem = f"the target, or a copy, has refused {record.refusals} candidates in a row, the last one with: "
        raise CandidateRejected("rotate", path, problem + record.history[-1].note, hint)
