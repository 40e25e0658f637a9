"""Rewrap the known ciphertexts of a managed key's old generations, then disable these.

A ciphertext names its generation, and the engine knows each one's age.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import Conflict, KeyturnError
from keyturn.core.ports.managed_keys import Generations, KeepsGenerations
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import load_record

REWRAP: Final = "rewrap"
RAISE: Final = "end generations of key"


@dataclass(frozen=True)
class OldCiphertexts:
    """One secret's fields under an older generation. ``held_by`` explains what prevents rewrapping."""

    path: str
    fields: tuple[str, ...] = ()
    held_by: str = ""


def find_old(
    workspace: Workspace, keeps: KeepsGenerations, paths: tuple[str, ...], newest: int
) -> list[OldCiphertexts]:
    """The secrets to rewrap, and those not checked."""
    looks = (look_at_secret(workspace, keeps, path, newest) for path in paths)
    return [look for look in looks if look.fields or look.held_by]


def look_at_secret(workspace: Workspace, keeps: KeepsGenerations, path: str, newest: int) -> OldCiphertexts:
    """The old fields of one secret, with any error."""
    try:
        current = workspace.hub.read(path)
        info = None if current else workspace.hub.describe(path)
    except KeyturnError as error:
        return OldCiphertexts(path, held_by=str(error))
    if current is None:
        gone = "its newest version is deleted" if info and info.versions else ""
        return OldCiphertexts(path, held_by=gone)
    return OldCiphertexts(path, tuple(old_fields(keeps, current.fields, newest)))


def old_fields(keeps: KeepsGenerations, fields: SecretFields, newest: int) -> Mapping[str, str]:
    """The ciphertexts of older generations, by field."""
    texts = {field: fields[field].reveal() for field in fields}
    made_by = {field: keeps.generation_of(text) for field, text in texts.items()}
    return {field: texts[field] for field, number in made_by.items() if number is not None and number < newest}


def rewrap_old(workspace: Workspace, name: str, keeps: KeepsGenerations, old: OldCiphertexts, newest: int) -> str:
    """Rewrap these fields of the secret and describe it. Raises Conflict."""
    if old.held_by:
        raise Conflict("rewrap", old.path, old.held_by, "Bring it back, or take it out of `rewraps`")
    record = load_record(workspace, old.path)
    if record.open or record.frozen or record.retiring:
        problem = "an incident holds it" if record.frozen else "a rotation of it is not over yet"
        raise Conflict("rewrap", old.path, problem, "It is tried again with the next run")
    with record_action(workspace, REWRAP, old.path, place=name) as doing:
        current = workspace.hub.read(old.path)
        texts = old_fields(keeps, current.fields, newest) if current else {}
        if current and texts:
            fresh = dict(zip(texts, keeps.rewrap(list(texts.values())), strict=True))
            doing.version = workspace.hub.write(old.path, current.fields.merged(fresh), cas=current.version)
        doing.note = f"{', '.join(texts)} by generation {newest}"
    return f"{old.path} is encrypted by generation {newest}"


def floor_wanted(generations: Generations, grace: timedelta | None, now: datetime) -> int:
    """The oldest usable generation, whose successor is in its grace period."""
    if grace is None:
        return generations.floor
    settled = [number for number, made_at in generations.made_at.items() if made_at + grace <= now]
    return max(generations.floor, *settled, 0)


def raise_floor(workspace: Workspace, name: str, keeps: KeepsGenerations, floor: int) -> str:
    """Disable the generations before ``floor``, and describe it."""
    words = f"generations before {floor} are out of use"
    with record_action(workspace, RAISE, place=name, note=words):
        keeps.raise_floor(floor)
    return words
