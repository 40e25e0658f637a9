"""After promotion: retire the old credential on evidence that nobody needs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from keyturn.core.errors import Conflict, KeyturnError
from keyturn.core.record import Record, Rotation, Stage
from keyturn.rotation.attempt import still_named
from keyturn.rotation.context import Keyturn, side_by_side
from keyturn.rotation.decide import freezes
from keyturn.rotation.guard import moved
from keyturn.rotation.recorded import recorded
from keyturn.rotation.records import load, save
from keyturn.rotation.rollout import canary, tell
from keyturn.rotation.sync import look, sync


class Waive(StrEnum):
    """What a person may waive at retirement."""

    NOTHING = "nothing"
    GRACE = "grace"
    EVERYTHING = "everything"


@dataclass(frozen=True)
class Retirement:
    """What became of the old credential; ``held_by`` is empty when it was retired."""

    path: str
    version: int | None
    retired: bool
    held_by: tuple[str, ...] = ()


def retire(keyturn: Keyturn, path: str, waive: Waive = Waive.NOTHING, token: str | None = None) -> Retirement:
    """End the old credential when its grace is over and all the evidence is there. Absent is success.

    Consumers that were silent are told again first. What holds it back is named; ``max_grace``, and waiving
    everything, end it all the same and say so in the history. With ``token`` only the credential before that
    rotation is ended.
    """
    told = load(keyturn, path).retiring
    if told and waive is not Waive.EVERYTHING:
        secret = keyturn.secret(path)
        tell(keyturn, path, told, canary(secret, told) or secret.consumers)
    record = load(keyturn, path)
    rotation = record.retiring
    if rotation is None or token not in (None, rotation.token):
        return Retirement(path, None, retired=False)
    if serves_again(keyturn, path, rotation):
        close(keyturn, path, record, rotation, "not ended: CURRENT names the old credential again")
        return Retirement(path, rotation.version, retired=False)
    if elsewhere := moved(keyturn, path, rotation):
        return leave(keyturn, path, record, rotation, elsewhere, waive)
    held_by = tuple(obstacles(keyturn, path, rotation, waive))
    forced = waived(keyturn, path, rotation, waive)
    if held_by and not forced:
        return Retirement(path, rotation.version, retired=False, held_by=held_by)
    end(keyturn, path, record, rotation, f"{forced}: {'; '.join(held_by)}" if held_by else "")
    return Retirement(path, rotation.version, retired=True)


def leave(keyturn: Keyturn, path: str, record: Record, rotation: Rotation, why: str, waive: Waive) -> Retirement:
    """Keep waiting; a person who waives everything closes the rotation, and ends the credential by hand."""
    if waive is not Waive.EVERYTHING:
        return Retirement(path, rotation.version, retired=False, held_by=(why,))
    close(keyturn, path, record, rotation, f"not ended: {why}")
    return Retirement(path, rotation.version, retired=False)


def waived(keyturn: Keyturn, path: str, rotation: Rotation, waive: Waive) -> str:
    """Why the old credential ends whatever speaks against it; empty when evidence is asked for."""
    limit = keyturn.secret(path).rotation.max_grace
    if waive is Waive.EVERYTHING:
        return "waived"
    if limit is not None and rotation.promoted_at and keyturn.clock() >= rotation.promoted_at + limit:
        return "max_grace is over"
    return ""


def end(keyturn: Keyturn, path: str, record: Record, rotation: Rotation, note: str) -> None:
    """Let the target forget the old credential, take what is left of it out of CURRENT, and close the rotation."""
    with recorded(keyturn, "retire", path, place=keyturn.target(path), note=note) as doing:
        doing.version, doing.fingerprint = rotation.version or 0, rotation.fingerprint
        keyturn.open_strategy(path).revoke(rotation.ends, rotation.sequence)
        changed = tidy(keyturn, path)
    close(keyturn, path, record, rotation, "; ".join(filter(None, (rotation.note, note))))
    if changed:
        sync(keyturn, path)


def tidy(keyturn: Keyturn, path: str) -> bool:
    """Write CURRENT without what only the old credential needed; whether there was anything."""
    current = keyturn.hub.read(path)
    left = keyturn.open_strategy(path).settled(current.fields) if current else None
    if current is None or left is None or current.fields.holds(left):
        return False
    try:
        keyturn.hub.write(path, current.fields.merged(left), cas=current.version)
    except Conflict:
        return tidy(keyturn, path)
    return True


def serves_again(keyturn: Keyturn, path: str, rotation: Rotation) -> bool:
    """Whether somebody has put the old credential back by hand: ending it would end CURRENT."""
    current = keyturn.hub.read(path) if rotation.ends else None
    return current is not None and still_named(rotation.ends, keyturn.open_strategy(path).ends(current.fields))


def obstacles(keyturn: Keyturn, path: str, rotation: Rotation, waive: Waive) -> list[str]:
    """Everything that speaks against ending the old credential now, in words for the person reading."""
    secret = keyturn.secret(path)
    found = []
    over = rotation.promoted_at + secret.rotation.grace if rotation.promoted_at else None
    if not (waive is Waive.GRACE or rotation.urgent) and over and keyturn.clock() < over:
        found.append(f"its grace lasts until {over:%Y-%m-%d %H:%M:%S %Z}")
    found += frozen(keyturn, path, rotation)
    copies = side_by_side(lambda place: look(keyturn, path, place), secret.destinations)
    found += [f"{c.store}:{c.name} is not in step: {c.error or c.state}" for c in copies if not c.in_step]
    silent = sorted(set(secret.consumers) - set(rotation.acknowledged))
    found += [f"{consumer} has not acknowledged version {rotation.version}" for consumer in silent]
    # Asked last, and only once nothing else speaks against it: a target need not be asked every few minutes. A
    # session of a credential that others may know is no reason to keep it.
    return found or ([] if rotation.urgent else list(uses(keyturn, path, rotation)))


def frozen(keyturn: Keyturn, path: str, rotation: Rotation) -> list[str]:
    """The freezes that hold now; what may be known to others is ended all the same."""
    holding = [freeze for freeze in freezes(keyturn, path) if freeze.holds(keyturn.clock())]
    return (
        []
        if rotation.urgent
        else [f"the freeze {freeze.name} lasts until {freeze.ends:%Y-%m-%d %H:%M %Z}" for freeze in holding]
    )


def uses(keyturn: Keyturn, path: str, rotation: Rotation) -> Sequence[str]:
    """What shows that the old credential is used still; a target that can't be asked holds it back too."""
    if rotation.promoted_at is None:
        return ()
    try:
        return keyturn.open_strategy(path).in_use(rotation.ends, rotation.promoted_at)
    except KeyturnError as error:
        return (f"nobody can tell whether it is used: {error}",)


def close(keyturn: Keyturn, path: str, record: Record, rotation: Rotation, note: str) -> None:
    """Move the rotation into the history; another worker having done so is success."""
    try:
        save(keyturn, path, record, rotation.to(Stage.RETIRED, closed_at=keyturn.clock(), note=note))
    except Conflict:
        newer = load(keyturn, path)
        if newer.retiring and newer.retiring.token == rotation.token:
            close(keyturn, path, newer, newer.retiring, note)
