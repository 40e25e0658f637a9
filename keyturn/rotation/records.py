"""Reading and writing rotation records: who holds a rotation, and how one is taken over."""

from dataclasses import replace
from typing import Final

from keyturn.core.errors import Conflict, Locked, Superseded
from keyturn.core.record import Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.context import Keyturn, alive

ROTATIONS: Final = "rotations"


def load(keyturn: Keyturn, path: str) -> Record:
    """The secret's record; an empty one when it has never been rotated."""
    state = keyturn.hub.read_state(f"{ROTATIONS}/{path}")
    return Record.from_data(state.data, state.version, state.age) if state else Record()


def save(
    keyturn: Keyturn, path: str, record: Record, rotation: Rotation, candidate: SecretFields | None = None
) -> Record:
    """Write ``record`` with ``rotation`` in place. Raises Conflict when another worker wrote first."""
    return rewrite(keyturn, path, record.having(rotation, candidate))


def rewrite(keyturn: Keyturn, path: str, record: Record) -> Record:
    """Write the record over the version that it was read at. Raises Conflict when another worker wrote first."""
    version = keyturn.hub.write_state(f"{ROTATIONS}/{path}", record.to_data(), cas=record.version)
    return replace(record, version=version, age=0.0)


def claim(keyturn: Keyturn, path: str, record: Record) -> Record:
    """Make this process the holder of the open rotation. Raises Locked while its holder may be at work.

    What a revocation holds is left to it.
    """
    rotation = record.open
    if rotation and rotation.stage is Stage.CUTTING:
        hint = "Nothing to do: it goes on by itself, and replaces the secret where that was asked for"
        raise Locked("rotate", path, f"the revocation {record.frozen} holds it", hint)
    if rotation is None or rotation.holder == keyturn.holder:
        return record
    living = alive(rotation.holder)
    if living or (living is None and record.age < keyturn.patience):
        raise held(path, rotation)
    try:
        return save(keyturn, path, record, replace(rotation, holder=keyturn.holder), record.candidate)
    except Conflict:
        raise held(path, rotation) from None


def held(path: str, rotation: Rotation) -> Locked:
    """The word to whoever comes second."""
    host, pid = rotation.holder.split("/")[:2]
    hint = "Nothing to do: it goes on by itself, and a later run finishes it should that process die"
    return Locked("rotate", path, f"rotation {rotation.token} is held by process {pid} on {host}", hint)


def open_by(keyturn: Keyturn, path: str, token: str) -> Record:
    """The record, for a step of the rotation ``token``. Raises Superseded when that is no longer the newest."""
    record = load(keyturn, path)
    if record.rotation is None or record.rotation.token != token:
        hint = "Nothing is lost: see `keyturn history` for what the newer run did"
        raise Superseded("go on with", path, f"rotation {token} is over", hint)
    return claim(keyturn, path, record)
