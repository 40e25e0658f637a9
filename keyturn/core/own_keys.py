"""Keyturn's own keys and their age: webhook keys, logins, the ledger's key."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from keyturn.core.error_codes import code_of
from keyturn.core.errors import KeyturnError


class KeyState(StrEnum):
    """The state of one of Keyturn's own keys."""

    IN_USE = "in use"
    TURNING = "being replaced"
    """The next key exists as well."""
    BY_HAND = "replaced by hand"
    """This login may not replace it."""
    UNKNOWN = "unknown"
    """The check failed."""


@dataclass(frozen=True)
class OwnKey:
    """One of Keyturn's own keys, without values.

    ``since`` is the start of its state, ``due_at`` when the next step is due; None if unknown or not planned.
    ``blocked`` is why it can't be replaced, with the remedy; usually empty.
    """

    name: str
    what: str
    state: KeyState
    since: datetime | None = None
    due_at: datetime | None = None
    blocked: str = ""

    def due(self, now: datetime) -> bool:
        """Whether its next step is due."""
        return self.due_at is not None and self.due_at <= now

    def to_data(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        moments: Mapping[str, datetime | None] = {"since": self.since, "due_at": self.due_at}
        stamps = {name: moment.isoformat() if moment else None for name, moment in moments.items()}
        return {"name": self.name, "what": self.what, "state": str(self.state), **stamps, "blocked": self.blocked}


@dataclass(frozen=True)
class KeyTurn:
    """The result of a key's rotation step: what was done, or why nothing was."""

    name: str
    did: str
    changed: bool = False
    blocked: bool = False
    """A person has to act before it can continue."""
    next_at: datetime | None = None
    """When its next step is due, if known."""


def turn_data(name: str, result: KeyTurn | KeyturnError) -> dict[str, Any]:
    """A rotation step's result, for scripts and waiting processes."""
    if isinstance(result, KeyturnError):
        words = {"error": str(result), "code": code_of(result)}
        return {"name": name, "did": "", "changed": False, "blocked": True, **words}
    words = {"error": "", "code": ""}
    return {"name": name, "did": result.did, "changed": result.changed, "blocked": result.blocked, **words}


def turn_each(names: Iterable[str], turn: Callable[[str], KeyTurn]) -> dict[str, KeyTurn | KeyturnError]:
    """Rotate each key in order; one error stops no other."""
    results: dict[str, KeyTurn | KeyturnError] = {}
    for name in names:
        try:
            results[name] = turn(name)
        except KeyturnError as error:
            results[name] = error
    return results
