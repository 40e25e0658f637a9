"""After promotion: tell consumers, keep their acknowledgements, and retire the old credential on evidence."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum

from keyturn.core.errors import Conflict, KeyturnError
from keyturn.core.record import Record, Rotation, Stage
from keyturn.rotation.context import Keyturn
from keyturn.rotation.records import load, save
from keyturn.rotation.sync import look


@dataclass(frozen=True)
class Told:
    """One consumer after it was told; ``error`` is empty when it acknowledged."""

    consumer: str
    error: str = ""


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


def notify(keyturn: Keyturn, path: str, rotation: Rotation, consumer: str) -> Told:
    """Tell one consumer; silence is part of the answer, not raised. Acknowledged before is success."""
    if consumer in rotation.acknowledged:
        return Told(consumer)
    if rotation.version is None or rotation.promoted_at is None:
        return Told(consumer, "the rotation is not promoted yet")
    try:
        keyturn.sender.deliver(consumer, path, rotation.version, rotation.promoted_at)
    except KeyturnError as error:
        return Told(consumer, str(error))
    return Told(consumer)


def notify_all(keyturn: Keyturn, path: str, rotation: Rotation) -> list[Told]:
    """Tell every consumer, side by side, and keep who acknowledged."""
    consumers = keyturn.secret(path).consumers
    if set(consumers) <= set(rotation.acknowledged):
        return [Told(consumer) for consumer in consumers]
    with ThreadPoolExecutor(len(consumers)) as pool:
        told = list(pool.map(lambda consumer: notify(keyturn, path, rotation, consumer), consumers))
    acknowledge(keyturn, path, rotation.token, [t.consumer for t in told if not t.error])
    return told


def acknowledge(keyturn: Keyturn, path: str, token: str, consumers: list[str]) -> None:
    """Keep in the record who acknowledged rotation ``token``; a rotation that is over needs none."""
    while True:
        record = load(keyturn, path)
        rotation = record.retiring
        if rotation is None or rotation.token != token:
            return
        known = tuple(sorted({*rotation.acknowledged, *consumers}))
        if known == rotation.acknowledged:
            return
        try:
            save(keyturn, path, record, replace(rotation, acknowledged=known))
        except Conflict:
            continue  # another worker wrote first: lay ours over what it wrote
        return


def retire(keyturn: Keyturn, path: str, waive: Waive = Waive.NOTHING, token: str | None = None) -> Retirement:
    """End the old credential when its grace is over and all the evidence is there. Absent is success.

    Consumers that were silent are told again first. What holds it back is named; waiving everything says
    so in the history. With ``token`` only the credential before that rotation is ended.
    """
    told = load(keyturn, path).retiring
    if told and waive is not Waive.EVERYTHING:
        notify_all(keyturn, path, told)
    record = load(keyturn, path)
    rotation = record.retiring
    if rotation is None or token not in (None, rotation.token):
        return Retirement(path, None, retired=False)
    if serves_again(keyturn, path, rotation):
        close(keyturn, path, record, rotation, "not ended: CURRENT names the old credential again")
        return Retirement(path, rotation.version, retired=False)
    held_by = tuple(obstacles(keyturn, path, rotation, waive))
    if held_by and waive is not Waive.EVERYTHING:
        return Retirement(path, rotation.version, retired=False, held_by=held_by)
    keyturn.open_strategy(path).revoke(rotation.ends, rotation.sequence)
    close(keyturn, path, record, rotation, f"waived: {'; '.join(held_by)}" if held_by else "")
    return Retirement(path, rotation.version, retired=True)


def serves_again(keyturn: Keyturn, path: str, rotation: Rotation) -> bool:
    """Whether somebody has put the old credential back by hand: ending it would end CURRENT."""
    current = keyturn.hub.read(path) if rotation.ends else None
    return current is not None and keyturn.open_strategy(path).ends(current.fields) == dict(rotation.ends)


def obstacles(keyturn: Keyturn, path: str, rotation: Rotation, waive: Waive) -> list[str]:
    """Everything that speaks against ending the old credential now, in words for the person reading."""
    secret = keyturn.secret(path)
    found = []
    over = rotation.promoted_at + secret.rotation.grace if rotation.promoted_at else None
    if waive is not Waive.GRACE and over and keyturn.clock() < over:
        found.append(f"its grace lasts until {over:%Y-%m-%d %H:%M:%S %Z}")
    copies = [look(keyturn, path, destination) for destination in secret.destinations]
    found += [f"{c.store}:{c.name} is not in step: {c.error or c.state}" for c in copies if not c.in_step]
    silent = sorted(set(secret.consumers) - set(rotation.acknowledged))
    return found + [f"{consumer} has not acknowledged version {rotation.version}" for consumer in silent]


def close(keyturn: Keyturn, path: str, record: Record, rotation: Rotation, note: str) -> None:
    """Move the rotation into the history; another worker having done so is success."""
    try:
        save(keyturn, path, record, rotation.to(Stage.RETIRED, closed_at=keyturn.clock(), note=note))
    except Conflict:
        newer = load(keyturn, path)
        if newer.retiring and newer.retiring.token == rotation.token:
            close(keyturn, path, newer, newer.retiring, note)
