"""The values of an open rotation, each in a separate entry that a record names and an auditor cannot read.

An entry is made once, under a new key, and never changed. It is written before its record, and removed after a record
that no longer names it. A crash in between leaves an entry for :func:`remove_leftovers`.
"""

import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from keyturn.core.errors import Invalid, KeyturnError, Superseded
from keyturn.core.ports.hub import StatePort
from keyturn.core.rotation_record import Record
from keyturn.core.sensitive import SecretFields, StoredFields


class RecordsHub(StatePort, Protocol):
    """The part of a hub that keeps records."""

    state_mount: str


class HasHub(Protocol):
    """A workspace, or any object with its hub."""

    @property
    def hub(self) -> RecordsHub:
        """The hub."""


CANDIDATES: Final = "candidates"
ROTATIONS: Final = "rotations"


def stored_fields(workspace: HasHub, path: str, key: str) -> StoredFields:
    """The values under this key of the record, read only when used."""
    return StoredFields(f"{CANDIDATES}/{path}/{key}", partial(_read, workspace, path, key))


def _read(workspace: HasHub, path: str, key: str) -> SecretFields:
    """The values. Raises Superseded where another run has continued, Invalid where they are lost."""
    place = f"{CANDIDATES}/{path}/{key}"
    if state := workspace.hub.read_state(place):
        return SecretFields(state.data)
    record = workspace.hub.read_state(f"{ROTATIONS}/{path}")
    if record is None or key not in (record.data.get("candidate"), record.data.get("rest")):
        hint = "Nothing is lost: see `keyturn history` for what the newer run did"
        raise Superseded("go on with", path, "another run has gone on from its record", hint)
    mount = workspace.hub.state_mount
    problem = f"the hub has no {mount}/{place}, which its record names"
    hint = (
        f"Restore that entry from a backup, or give the rotation up (`keyturn repair forget {path}`) and rotate again"
    )
    raise Invalid("read", path, problem, hint)


def store_values(workspace: HasHub, path: str, record: Record) -> Record:
    """The record with each value stored under a new key, unless it already is."""
    return replace(
        record,
        candidate=_stored(workspace, path, record.candidate),
        rest=_stored(workspace, path, record.rest),
    )


def _stored(workspace: HasHub, path: str, fields: SecretFields | None) -> StoredFields | None:
    if fields is None or (isinstance(fields, StoredFields) and is_of(path, fields.place)):
        return fields
    values = fields.merged({})
    place = f"{CANDIDATES}/{path}/{uuid.uuid4()}"
    workspace.hub.claim_state(place, values.reveal())
    return StoredFields(place, lambda: values)


def places(record: Record) -> frozenset[str]:
    """The entries that the record names."""
    return frozenset(values.place for values in (record.candidate, record.rest) if isinstance(values, StoredFields))


def remove_values(workspace: HasHub, path: str, unnamed: Iterable[str]) -> None:
    """Remove this secret's entries that its record doesn't name. Failures leave leftovers."""
    for place in unnamed:
        if is_of(path, place):
            with suppress(KeyturnError):
                workspace.hub.delete_state(place)


def is_of(path: str, place: str) -> bool:
    """Whether an entry holds values of this very secret."""
    return place.rpartition("/")[0] == f"{CANDIDATES}/{path}"
