"""What Keyturn itself works with, and how old it is: its webhook keys, its logins, the key of its ledger."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from keyturn.core.error_codes import code_of
from keyturn.core.errors import KeyturnError


class KeyState(StrEnum):
    """Where one of Keyturn's own keys stands."""

    IN_USE = "in use"
    TURNING = "being replaced"
    """The next one is there beside it."""
    BY_HAND = "replaced by hand"
    """This login may not replace it."""
    UNKNOWN = "unknown"
    """Nobody could look."""


@dataclass(frozen=True)
class OwnKey:
    """One of Keyturn's own keys, in names only.

    ``since`` is when it came to stand as it does, ``due_at`` when the next step is due; None where nobody knows, or
    none comes. ``blocked`` says what keeps it from being replaced, and the remedy; mostly empty.
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
        """For scripts."""
        moments: Mapping[str, datetime | None] = {"since": self.since, "due_at": self.due_at}
        stamps = {name: moment.isoformat() if moment else None for name, moment in moments.items()}
        return {"name": self.name, "what": self.what, "state": str(self.state), **stamps, "blocked": self.blocked}


@dataclass(frozen=True)
class KeyTurn:
    """What a turn of one key came to: what was done, or why nothing was; ``changed`` says that something was done."""

    name: str
    did: str
    changed: bool = False
    blocked: bool = False
    """A person has something to do before it goes on."""
    next_at: datetime | None = None
    """When its next step is due, where that is known."""


def turn_data(name: str, result: KeyTurn | KeyturnError) -> dict[str, Any]:
    """What a turn came to, for scripts and for whoever waits for a run."""
    if isinstance(result, KeyturnError):
        words = {"error": str(result), "code": code_of(result)}
        return {"name": name, "did": "", "changed": False, "blocked": True, **words}
    words = {"error": "", "code": ""}
    return {"name": name, "did": result.did, "changed": result.changed, "blocked": result.blocked, **words}


def turn_each(names: Iterable[str], turn: Callable[[str], KeyTurn]) -> dict[str, KeyTurn | KeyturnError]:
    """The turn of each key, one after the other; what one raises stops no other."""
    results: dict[str, KeyTurn | KeyturnError] = {}
    for name in names:
        try:
            results[name] = turn(name)
        except KeyturnError as error:
            results[name] = error
    return results
