"""The steps from a due secret to a promoted one: decide, stage, install, verify, promote, abandon."""

import uuid
from dataclasses import dataclass, replace

from keyturn.core.errors import Conflict, Locked, Superseded, TerminalError
from keyturn.core.hub import ROTATED_AT, HubSecret
from keyturn.core.policy import Facts, Reason, Trigger, due
from keyturn.core.record import Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.core.strategies import Change
from keyturn.rotation.context import Keyturn
from keyturn.rotation.records import claim, held, load, open_by, save


@dataclass(frozen=True)
class Decision:
    """Why to rotate, None when there is no reason; and the hub version that this was decided on.

    ``unsettled`` names the rotation that is promoted and whose old credential is not retired yet.
    """

    reason: Reason | None
    seen: int
    unsettled: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One rotation in work: its record, and CURRENT as read when the step or the run began."""

    path: str
    record: Record
    current: HubSecret | None

    @property
    def rotation(self) -> Rotation:
        """The rotation, open or promoted. Raises TerminalError when the record has none."""
        if self.record.rotation is None:
            raise TerminalError("go on with", self.path, "no rotation is open", "See `keyturn history` for its end")
        return self.record.rotation

    @property
    def candidate(self) -> SecretFields:
        """The candidate. Raises TerminalError when it is not made yet."""
        if self.record.candidate is None:
            raise TerminalError("go on with", self.path, "it has no candidate", "Run the rotation again")
        return self.record.candidate

    def change(self, sequence: int | None = None) -> Change:
        """The attempt as its strategy sees it."""
        current = self.current.fields if self.current else None
        return Change(self.path, sequence or self.rotation.sequence, self.candidate, current)


def decide(keyturn: Keyturn, path: str, trigger: Trigger) -> Decision:
    """Whether to rotate now, told from metadata alone. What an earlier run left open always goes on."""
    schedule = keyturn.secret(path).rotation.schedule
    info = keyturn.hub.describe(path)
    seen = info.version if info else 0
    record = load(keyturn, path)
    if record.open:
        return Decision(Reason("Unfinished", "an earlier run was interrupted"), seen)
    facts = Facts(path, schedule, keyturn.clock(), info.rotated_at if info else None, trigger)
    return Decision(due(facts), seen, record.retiring.token if record.retiring else None)


def resume(keyturn: Keyturn, path: str, token: str) -> Attempt:
    """The attempt again, for a step that is given only names. Raises Superseded when it is over."""
    return Attempt(path, open_by(keyturn, path, token), keyturn.hub.read(path))


def stage(keyturn: Keyturn, path: str, decision: Decision) -> Attempt:
    """Save a candidate as PENDING, or go on with the one that an earlier run left.

    Raises Locked when another run holds the rotation, or has just done it.
    """
    record = claim(keyturn, path, load(keyturn, path))
    attempt = Attempt(path, record, keyturn.hub.read(path))
    if record.open is None:
        return open_rotation(keyturn, attempt, decision)
    if record.open.stage is Stage.MINTING:
        known = [attempt.current.fields] if attempt.current else []
        keyturn.open_strategy(path).sweep(record.open.before, known)
        return mint(keyturn, attempt)
    return attempt


def open_rotation(keyturn: Keyturn, attempt: Attempt, decision: Decision) -> Attempt:
    """Take the lock, with the candidate in it; a mint that acts at the target saves its intent first."""
    path, record = attempt.path, attempt.record
    if record.retiring:
        raise unretired(path, record.retiring)
    base = newest_version(keyturn, attempt)
    if base != decision.seen:
        raise Locked("rotate", path, f"version {base} was promoted a moment ago", "Nothing to do: it is done")
    attempt, base = fence_abandoned(keyturn, attempt, base)
    strategy = keyturn.open_strategy(path)
    rotation = Rotation(
        token=str(uuid.uuid4()),
        sequence=record.version + 1,
        stage=Stage.MINTING if strategy.mints_at_target else Stage.PENDING,
        strategy=keyturn.secret(path).rotation.strategy,
        reason=decision.reason.code if decision.reason else "",
        holder=keyturn.holder,
        opened_at=keyturn.clock(),
        base_version=base,
        ends=ends(keyturn, attempt),
        before=tuple(strategy.before_mint()),
    )
    if strategy.mints_at_target:
        return mint(keyturn, replace(attempt, record=take(keyturn, attempt, rotation, None)))
    return replace(attempt, record=take(keyturn, attempt, rotation, minted(keyturn, attempt)))


def fence_abandoned(keyturn: Keyturn, attempt: Attempt, base: int) -> tuple[Attempt, int]:
    """After an abandoned candidate, write CURRENT again unchanged, once.

    That moves the version on, so a worker suspended just before it promoted that candidate finds its
    compare-and-set refused when it wakes.
    """
    last = attempt.record.history[-1] if attempt.record.history else None
    if attempt.current is None or last is None or last.stage is not Stage.ABANDONED or last.base_version != base:
        return attempt, base
    moved = replace(attempt.current, version=keyturn.hub.write(attempt.path, attempt.current.fields, cas=base))
    return replace(attempt, current=moved), moved.version


def take(keyturn: Keyturn, attempt: Attempt, rotation: Rotation, candidate: SecretFields | None) -> Record:
    """Write the record that opens ``rotation``. Raises Locked when another worker opened one first."""
    try:
        return save(keyturn, attempt.path, attempt.record, rotation, candidate)
    except Conflict:
        winner = load(keyturn, attempt.path).rotation
        raise held(attempt.path, winner or rotation) from None


def mint(keyturn: Keyturn, attempt: Attempt) -> Attempt:
    """Let a strategy whose mint acts at the target make the candidate, and save it at once."""
    pending = attempt.rotation.to(Stage.PENDING)
    return replace(attempt, record=save(keyturn, attempt.path, attempt.record, pending, minted(keyturn, attempt)))


def minted(keyturn: Keyturn, attempt: Attempt) -> SecretFields:
    """A new candidate with the moment it was made, which tells it from every other version."""
    current = attempt.current.fields if attempt.current else None
    candidate = keyturn.open_strategy(attempt.path).mint(current)
    return candidate.merged({"rotated_at": keyturn.clock().isoformat()})


def install(keyturn: Keyturn, attempt: Attempt) -> None:
    """Make the target accept the candidate. Already accepted or promoted is success."""
    if attempt.record.open:
        keyturn.open_strategy(attempt.path).install(attempt.change())


def verify(keyturn: Keyturn, attempt: Attempt) -> None:
    """Log in with the candidate on a new connection. Raises CandidateRejected."""
    if attempt.record.open:
        keyturn.open_strategy(attempt.path).verify(attempt.change())


def promote(keyturn: Keyturn, attempt: Attempt) -> Attempt:
    """Make the candidate CURRENT: the one point of no return. Already CURRENT is success."""
    if attempt.record.open is None:
        return attempt
    path, rotation = attempt.path, attempt.rotation
    current = write_current(keyturn, attempt)
    stamp = attempt.candidate.reveal()["rotated_at"]
    keyturn.hub.annotate(path, {ROTATED_AT: stamp, "keyturn-token": rotation.token})
    promoted = rotation.to(
        Stage.PROMOTED,
        version=current.version,
        fingerprint=keyturn.fingerprint(current.fields),
        promoted_at=keyturn.clock(),
    )
    return Attempt(path, save(keyturn, path, attempt.record, promoted), current)


def write_current(keyturn: Keyturn, attempt: Attempt) -> HubSecret:
    """Compare-and-set the candidate onto the secret's own path; fields that it lacks keep their value."""
    current = attempt.current
    if current and current.fields.holds(attempt.candidate):
        return current
    merged = (current.fields if current else SecretFields({})).merged(attempt.candidate)
    try:
        version = keyturn.hub.write(attempt.path, merged, cas=newest_version(keyturn, attempt))
    except Conflict:
        return write_current(keyturn, seen_again(keyturn, attempt))
    return HubSecret(attempt.path, version, merged)


def seen_again(keyturn: Keyturn, attempt: Attempt) -> Attempt:
    """The attempt on the secret as it is now. Raises Superseded when the credential itself has changed.

    CURRENT is read before the record: the record of an abandoned rotation closes before CURRENT moves.
    """
    current = keyturn.hub.read(attempt.path)
    again = Attempt(attempt.path, open_by(keyturn, attempt.path, attempt.rotation.token), current)
    written = current is not None and current.fields.holds(attempt.candidate)
    if not written and ends(keyturn, again) != dict(attempt.rotation.ends):
        problem = "CURRENT names another credential than when this rotation began"
        raise Superseded("promote", attempt.path, problem, "Somebody wrote it by hand: run the rotation again")
    return again


def abandon(keyturn: Keyturn, attempt: Attempt, why: str) -> None:
    """Give up a candidate that the target refused. CURRENT is untouched and works."""
    keyturn.open_strategy(attempt.path).abandon(attempt.change(sequence=attempt.record.version + 1))
    closed = attempt.rotation.to(Stage.ABANDONED, closed_at=keyturn.clock(), note=why)
    save(keyturn, attempt.path, attempt.record, closed)


def ends(keyturn: Keyturn, attempt: Attempt) -> dict[str, str]:
    """The names of the credential that CURRENT holds."""
    return dict(keyturn.open_strategy(attempt.path).ends(attempt.current.fields)) if attempt.current else {}


def newest_version(keyturn: Keyturn, attempt: Attempt) -> int:
    """The version that a write must name; a deleted newest version still counts in the hub."""
    if attempt.current:
        return attempt.current.version
    info = keyturn.hub.describe(attempt.path)
    return info.version if info else 0


def unretired(path: str, rotation: Rotation) -> Locked:
    """Why a new rotation must wait for the last one's old credential."""
    problem = f"version {rotation.version} is promoted, and the credential before it is not retired yet"
    return Locked("rotate", path, problem, f"Run `keyturn retire {path}` to see what holds it, or force it")
