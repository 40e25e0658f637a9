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

    @property
    def in_force(self) -> bool:
        """Whether CURRENT is the candidate already: a run was interrupted right after it promoted."""
        return self.current is not None and self.current.fields.holds(self.candidate)

    def change(self, sequence: int | None = None) -> Change:
        """The attempt as its strategy sees it."""
        current = self.current.fields if self.current else None
        return Change(self.path, sequence or self.rotation.sequence, self.candidate, current)


def decide(keyturn: Keyturn, path: str, trigger: Trigger) -> Decision:
    """Whether to rotate now, told from metadata alone. What an earlier run left open always goes on."""
    schedule = keyturn.secret(path).rotation.schedule
    info, record = keyturn.hub.describe(path), load(keyturn, path)
    seen = info.version if info else 0
    if record.open:
        return Decision(Reason("Unfinished", "an earlier run was interrupted"), seen)
    if record.retiring and (record.retiring.version or 0) > seen:
        info = keyturn.hub.describe(path)  # another run has promoted between the two reads
        seen = info.version if info else 0
    facts = Facts(path, schedule, keyturn.clock(), info.rotated_at if info else None, trigger)
    return Decision(due(facts), seen, record.retiring.token if record.retiring else None)


def resume(keyturn: Keyturn, path: str, token: str) -> Attempt:
    """The attempt again, for a step that is given only names. Raises Superseded when it is over."""
    return Attempt(path, open_by(keyturn, path, token), keyturn.hub.read(path))


def stage(keyturn: Keyturn, path: str, decision: Decision) -> Attempt:
    """Save a candidate as PENDING, or go on with the one that an earlier run left.

    One that can't go on is abandoned first. Raises Locked when another run holds the rotation, or has just
    done it.
    """
    record = claim(keyturn, path, load(keyturn, path))
    attempt = Attempt(path, record, keyturn.hub.read(path))
    if why := spoiled(keyturn, attempt):
        closed = abandon(keyturn, attempt, why)
        return stage(keyturn, path, replace(decision, seen=newest_version(keyturn, closed)))
    if record.open is None:
        return open_rotation(keyturn, attempt, decision)
    if record.open.stage is Stage.MINTING:
        known = [attempt.current.fields] if attempt.current else []
        keyturn.open_strategy(path).sweep(record.open.before, known)
        return mint(keyturn, attempt)
    return attempt


def spoiled(keyturn: Keyturn, attempt: Attempt) -> str | None:
    """Why the candidate that an earlier run left can't go on; None when it can, or when there is none."""
    rotation = attempt.record.open
    if rotation is None or rotation.stage is Stage.MINTING:
        return None
    if rotation.stage is Stage.ABANDONING:
        return rotation.note
    if attempt.in_force or ends(keyturn, attempt) == dict(rotation.ends):
        return None
    return "CURRENT names another credential than when this rotation began"


def open_rotation(keyturn: Keyturn, attempt: Attempt, decision: Decision) -> Attempt:
    """Take the lock, with the candidate in it; a mint that acts at the target saves its intent first."""
    path, record = attempt.path, attempt.record
    if record.retiring:
        raise unretired(path, record.retiring)
    base = newest_version(keyturn, attempt)
    if base != decision.seen:
        raise Locked("rotate", path, f"version {base} was promoted a moment ago", "Nothing to do: it is done")
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


def take(keyturn: Keyturn, attempt: Attempt, rotation: Rotation, candidate: SecretFields | None) -> Record:
    """Write the record that opens ``rotation``. Raises Locked when another worker opened one first."""
    try:
        return save(keyturn, attempt.path, attempt.record, rotation, candidate)
    except Conflict:
        winner = load(keyturn, attempt.path).rotation
        raise held(attempt.path, winner or rotation) from None


def mint(keyturn: Keyturn, attempt: Attempt) -> Attempt:
    """Let a strategy whose mint acts at the target make the candidate, and save it at once.

    Raises Locked, and gives the candidate back, when another worker took the rotation over meanwhile.
    """
    pending, candidate = attempt.rotation.to(Stage.PENDING), minted(keyturn, attempt)
    try:
        return replace(attempt, record=save(keyturn, attempt.path, attempt.record, pending, candidate))
    except Conflict:
        current = attempt.current.fields if attempt.current else None
        unsaved = Change(attempt.path, attempt.record.version, candidate, current)
        keyturn.open_strategy(attempt.path).abandon(unsaved)
        raise held(attempt.path, load(keyturn, attempt.path).rotation or attempt.rotation) from None


def minted(keyturn: Keyturn, attempt: Attempt) -> SecretFields:
    """A new candidate with the moment it was made, which tells it from every other version."""
    current = attempt.current.fields if attempt.current else None
    candidate = keyturn.open_strategy(attempt.path).mint(current)
    return candidate.merged({"rotated_at": keyturn.clock().isoformat()})


def install(keyturn: Keyturn, attempt: Attempt) -> None:
    """Make the target accept the candidate. Already accepted or promoted is success."""
    if attempt.record.open and not attempt.in_force:
        keyturn.open_strategy(attempt.path).install(attempt.change())


def verify(keyturn: Keyturn, attempt: Attempt) -> None:
    """Log in with the candidate on a new connection. Already promoted is success. Raises CandidateRejected."""
    if attempt.record.open and not attempt.in_force:
        keyturn.open_strategy(attempt.path).verify(attempt.change())


def promote(keyturn: Keyturn, attempt: Attempt) -> Attempt:
    """Make the candidate CURRENT: the one point of no return. Already CURRENT is success."""
    if attempt.record.open is None:
        return attempt
    path, rotation = attempt.path, going_on(attempt).rotation
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
    if current and attempt.in_force:
        return current
    merged = (current.fields if current else SecretFields({})).merged(attempt.candidate)
    try:
        version = keyturn.hub.write(attempt.path, merged, cas=newest_version(keyturn, attempt))
    except Conflict:
        return write_current(keyturn, seen_again(keyturn, attempt))
    return HubSecret(attempt.path, version, merged)


def seen_again(keyturn: Keyturn, attempt: Attempt) -> Attempt:
    """The attempt on the secret as it is now. Raises Superseded when the credential itself has changed.

    CURRENT is read before the record: a rotation is marked as abandoned before CURRENT moves.
    """
    current = keyturn.hub.read(attempt.path)
    again = going_on(Attempt(attempt.path, open_by(keyturn, attempt.path, attempt.rotation.token), current))
    if not again.in_force and ends(keyturn, again) != dict(attempt.rotation.ends):
        problem = "CURRENT names another credential than when this rotation began"
        raise Superseded("promote", attempt.path, problem, "Somebody wrote it by hand: run the rotation again")
    return again


def going_on(attempt: Attempt) -> Attempt:
    """The attempt, while its candidate is PENDING. Raises Superseded."""
    if attempt.rotation.stage is not Stage.PENDING:
        problem = f"another run has it, rotation {attempt.rotation.token} is {attempt.rotation.stage}"
        raise Superseded("promote", attempt.path, problem, "Nothing is lost: a later run finishes it")
    return attempt


def abandon(keyturn: Keyturn, attempt: Attempt, why: str) -> Attempt:
    """Give up a candidate that the target refused. CURRENT is untouched and works.

    First the record says so, which stops every other worker; then CURRENT's version moves on; the target
    comes last, and may be told again after a crash.
    """
    path, rotation = attempt.path, attempt.rotation
    if rotation.stage is not Stage.ABANDONING:
        doomed = rotation.to(Stage.ABANDONING, note=why)
        attempt = replace(attempt, record=save(keyturn, path, attempt.record, doomed, attempt.candidate))
    attempt = fence(keyturn, attempt)
    if not attempt.in_force:
        keyturn.open_strategy(path).abandon(attempt.change(sequence=attempt.record.version))
    closed = attempt.rotation.to(Stage.ABANDONED, closed_at=keyturn.clock())
    return replace(attempt, record=save(keyturn, path, attempt.record, closed))


def fence(keyturn: Keyturn, attempt: Attempt) -> Attempt:
    """Write CURRENT again unchanged, so that a worker suspended just before it promoted is refused.

    Where such a worker was quicker, what it replaced is put back.
    """
    current = keyturn.hub.read(attempt.path)
    if current is None:
        return replace(attempt, current=None)
    kept = without(keyturn, attempt, current)
    keep_age(keyturn, attempt.path)
    try:
        moved = replace(kept, version=keyturn.hub.write(attempt.path, kept.fields, cas=current.version))
    except Conflict:
        return fence(keyturn, attempt)
    return replace(attempt, current=moved)


def without(keyturn: Keyturn, attempt: Attempt, current: HubSecret) -> HubSecret:
    """The newest version since the rotation began that isn't the candidate; ``current`` where there is none."""
    for version in range(current.version, max(attempt.rotation.base_version, 1) - 1, -1):
        found = current if version == current.version else keyturn.hub.read(attempt.path, version)
        if found and not found.fields.holds(attempt.candidate):
            return found
    return current


def keep_age(keyturn: Keyturn, path: str) -> None:
    """Write the secret's age down where only its newest version told it, before that version is written again."""
    info = keyturn.hub.describe(path)
    if info and info.rotated_at and ROTATED_AT not in info.custom:
        keyturn.hub.annotate(path, {ROTATED_AT: info.rotated_at.isoformat()})


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
