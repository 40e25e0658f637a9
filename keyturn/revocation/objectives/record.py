"""A secret's rehearsals in the hub: the throw-away credential under way, and the last results."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.rotation.state.context import Workspace

REHEARSALS: Final = "rehearsals"
"""Path in the hub's state: an entry for each rehearsed secret."""
KEPT: Final = 20
"""Results that are kept, about five months of weekly rehearsals."""


@dataclass(frozen=True)
class Rehearsal:
    """One result; ``refused`` and ``sessions`` are seconds from the start of the revocation, or None if not seen.

    ``waited`` is how long the target was asked; ``target`` is its unique name.
    """

    at: datetime
    target: str
    refused: float | None
    sessions: float | None
    waited: float

    @property
    def words(self) -> str:
        """One line for the ledger and for people."""
        if self.refused is None:
            return f"NOT refused within {self.waited:.0f} s"
        sessions = f"; sessions ended after {self.sessions:.2f} s" if self.sessions is not None else ""
        return f"refused after {self.refused:.2f} s{sessions}"


@dataclass(frozen=True)
class Rehearsals:
    """The entry of one secret. While ``shadow`` is set, something of that name may exist at the target."""

    shadow: str = ""
    holder: str = ""
    began: datetime | None = None
    results: tuple[Rehearsal, ...] = ()
    """Newest last."""

    def ended(self, result: Rehearsal | None) -> "Rehearsals":
        """The entry after its throw-away credential was removed."""
        results = (*self.results, *([result] if result else []))[-KEPT:]
        return replace(self, shadow="", holder="", began=None, results=results)


def load_rehearsals(workspace: Workspace, path: str) -> tuple[Rehearsals, int]:
    """A secret's entry and its version, 0 for none. Raises Invalid for a malformed entry."""
    place = f"{REHEARSALS}/{path}"
    if (state := workspace.hub.read_state(place)) is None:
        return Rehearsals(), 0
    try:
        data = json.loads(state.data["rehearsals"])
        results = tuple(Rehearsal(**{**each, "at": datetime.fromisoformat(each["at"])}) for each in data["results"])
        began = datetime.fromisoformat(data["began"]) if data["began"] else None
        return Rehearsals(data["shadow"], data["holder"], began, results), state.version
    except (ValueError, TypeError, KeyError, AttributeError):
        where, hint = f"{workspace.hub.state_mount}/{place}", "Remove it there; the next rehearsal writes a new one"
        raise Invalid("read", where, "it is not an entry of rehearsals", hint) from None


def change_rehearsals(
    workspace: Workspace, path: str, before: tuple[Rehearsals, int], after: Rehearsals
) -> tuple[Rehearsals, int]:
    """Write an entry. Raises Conflict if another run has written it since."""
    version = workspace.hub.write_state(f"{REHEARSALS}/{path}", _to_data(after), cas=before[1])
    return after, version


def _to_data(entry: Rehearsals) -> dict[str, str]:
    def plain(value: Any) -> str:
        return str(value.isoformat())

    return {"rehearsals": json.dumps(asdict(entry), default=plain)}
