"""The steps from a due secret to a promoted one: decide, stage, install, verify, promote, abandon."""

import uuid
from dataclasses import dataclass, replace
from typing import Final

from keyturn.core.errors import Conflict, Locked, Superseded
from keyturn.core.hub import ROTATED_AT, HubSecret, SecretInfo
from keyturn.core.policy import Facts, Reason, Trigger, due
from keyturn.core.record import Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.core.strategies import Change
from keyturn.rotation.abandon import abandon
from keyturn.rotation.attempt import Attempt, ends, newest_version
from keyturn.rotation.context import Keyturn
from keyturn.rotation.records import claim, held, load, open_by, save

TOKEN: Final = "keyturn-token"
"""Custom metadata: the rotation that promoted last."""

UNFINISHED: Final = Reason("Unfinished", "an earlier run was interrupted")


@dataclass(frozen=True)
class Decision:
    """Why to rotate, None when there is no reason; and the hub version that this was decided on.

    ``unsettled`` names the rotation that is promoted and whose old credential is not retired yet.
    """

    reason: Reason | None
    seen: int
    unsettled: str | None = None


def decide(keyturn: Keyturn, path: str, trigger: Trigger) -> Decision:
    """Whether to rotate now, told from metadata alone. What an earlier run left open always goes on."""
    schedule = keyturn.secret(path).rotation.schedule
    info, record = keyturn.hub.describe(path), load(keyturn, path)
    if record.open:
        return Decision(UNFINISHED, info.version if info else 0)
    if outdated(info, record):
        info = keyturn.hub.describe(path)
    facts = Facts(path, schedule, keyturn.clock(), info.rotated_at if info else None, trigger)
    return Decision(due(facts), info.version if info else 0, record.retiring.token if record.retiring else None)


def outdated(info: SecretInfo | None, record: Record) -> bool:
    """Whether another run may have promoted after ``info`` was read and before ``record`` was."""
    last = record.retiring or next((past for past in reversed(record.history) if past.version is not None), None)
    if last is None or last.version is None:
        return False
    return info is None or (info.version <= last.version and info.custom.get(TOKEN) != last.token)


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
        again = Reason("Abandoned", f"the candidate before it was given up: {why}")
        return stage(keyturn, path, replace(decision, reason=again, seen=newest_version(keyturn, closed)))
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
    if base != decision.seen or decision.reason == UNFINISHED:
        problem = f"another run has finished with version {base} a moment ago"
        raise Locked("rotate", path, problem, "Nothing to do: it is done")
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
    keyturn.hub.annotate(path, {ROTATED_AT: stamp, TOKEN: rotation.token})
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


def unretired(path: str, rotation: Rotation) -> Locked:
    """Why a new rotation must wait for the last one's old credential."""
    problem = f"version {rotation.version} is promoted, and the credential before it is not retired yet"
    return Locked("rotate", path, problem, f"Run `keyturn retire {path}` to see what holds it, or force it")
