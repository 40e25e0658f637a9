"""The progress in each log, stored in the hub with compare-and-set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from keyturn.core.errors import Invalid
from keyturn.core.ports.hub import StatePort

PLACE: Final = "serve/cursors"
"""The path of the states in Keyturn's mount."""


@dataclass(frozen=True)
class SourceState:
    """A source's sealed state: cursor, number of segments, last entry and ledger name.

    ``pending`` and ``head`` are of a segment about to be sealed, which the ledger confirms. ``version`` is the hub's, 0
    without a state.
    """

    cursor: str | None = None
    segments: int = 0
    entry: int = 0
    ledger: str = ""
    pending: str = ""
    head: str = ""
    version: int = 0

    def to_data(self) -> dict[str, Any]:
        """Convert it for the hub."""
        members = {key: value for key, value in vars(self).items() if key not in ("cursor", "version") and value}
        return members if self.cursor is None else {"cursor": self.cursor, **members}

    @classmethod
    def from_data(cls, source: str, data: Mapping[str, Any], version: int) -> "SourceState":
        """Parse the hub's data. Raises Invalid where it was edited."""
        try:
            cursor = data.get("cursor")
            return cls(
                None if cursor is None else str(cursor),
                int(data.get("segments", 0)),
                int(data.get("entry", 0)),
                str(data.get("ledger", "")),
                str(data.get("pending", "")),
                str(data.get("head", "")),
                version,
            )
        except (TypeError, ValueError):
            problem = "it does not record how far the log was read: it was edited by hand"
            hint = "Delete it: the ledger and the trail know it, too"
            raise Invalid("read", f"{PLACE}/{source} in the hub", problem, hint) from None


class Cursors(Protocol):
    """Storage of the states."""

    def read(self, source: str) -> SourceState:
        """Return a source's state, perhaps empty. Raises Unavailable, Denied, Invalid."""

    def write(self, source: str, state: SourceState) -> SourceState:
        """Replace the version it contains, and return the new one. Raises Conflict, Unavailable."""


class HubCursors:
    """:class:`Cursors` in Keyturn's mount of the hub."""

    def __init__(self, hub: StatePort) -> None:
        self._hub = hub

    def read(self, source: str) -> SourceState:
        """Return a source's state."""
        state = self._hub.read_state(f"{PLACE}/{source}")
        return SourceState.from_data(source, state.data, state.version) if state else SourceState()

    def write(self, source: str, state: SourceState) -> SourceState:
        """Replace the version that it contains."""
        version = self._hub.write_state(f"{PLACE}/{source}", state.to_data(), cas=state.version)
        return SourceState(**{**vars(state), "version": version})
