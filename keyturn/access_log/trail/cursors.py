"""How far each log was read, and by whose word: a state in the hub for each source, changed by compare-and-set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from keyturn.core.errors import Invalid
from keyturn.core.ports.hub import StatePort

PLACE: Final = "serve/cursors"
"""Below which the states stand in Keyturn's own mount."""


@dataclass(frozen=True)
class SourceState:
    """How far a source was sealed: the cursor, how many segments, the entry of the last one, and the ledger's name.

    ``pending`` is the cursor of a segment that somebody is about to seal, and ``head`` the digest of its head; whether
    they came to it the ledger tells. ``version`` is that of the state in the hub, 0 where there is none.
    """

    cursor: str | None = None
    segments: int = 0
    entry: int = 0
    ledger: str = ""
    pending: str = ""
    head: str = ""
    version: int = 0

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        members = {key: value for key, value in vars(self).items() if key not in ("cursor", "version") and value}
        return members if self.cursor is None else {"cursor": self.cursor, **members}

    @classmethod
    def from_data(cls, source: str, data: Mapping[str, Any], version: int) -> "SourceState":
        """The same, read. Raises Invalid where somebody has edited it."""
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
            problem = "it does not tell how far the log was read: somebody has edited it"
            hint = "Delete it: the ledger and the trail know it, too"
            raise Invalid("read", f"{PLACE}/{source} in the hub", problem, hint) from None


class Cursors(Protocol):
    """Where the states are kept."""

    def read(self, source: str) -> SourceState:
        """The state of a source; an empty one where there is none. Raises Unavailable, Denied, Invalid."""

    def write(self, source: str, state: SourceState) -> SourceState:
        """Write it over the version that it bears; it is given with the new one. Raises Conflict, Unavailable."""


class HubCursors:
    """:class:`Cursors` in Keyturn's own mount of the hub."""

    def __init__(self, hub: StatePort) -> None:
        self._hub = hub

    def read(self, source: str) -> SourceState:
        """The state of a source."""
        state = self._hub.read_state(f"{PLACE}/{source}")
        return SourceState.from_data(source, state.data, state.version) if state else SourceState()

    def write(self, source: str, state: SourceState) -> SourceState:
        """Write it over the version that it bears."""
        version = self._hub.write_state(f"{PLACE}/{source}", state.to_data(), cas=state.version)
        return SourceState(**{**vars(state), "version": version})
