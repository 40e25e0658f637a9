"""How far each source was judged and everything about it told: after a start what comes behind is told, if it was not.

A mark is written over the version that its holder has read when it began: whoever lost the source can't move it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from keyturn.core.errors import Conflict
from keyturn.core.ports.hub import StatePort
from keyturn.serving.parts import lease_ended

JUDGED: Final = "serve/judged"
"""Where the marks are in Keyturn's own mount: ``serve/judged/<source>``."""


@dataclass(frozen=True)
class Mark:
    """Segments below ``segment`` are judged, and what was odd in them was told at ``at``.

    What happened before ``begun`` is learned alone: it was there before anybody watched. ``version`` is the entry's.
    """

    begun: datetime
    segment: int
    at: datetime
    version: int = 0

    def to_data(self, holder: int) -> dict[str, Any]:
        """As the hub keeps it, with the number of the lease by which it is written."""
        return {
            "begun": self.begun.isoformat(),
            "segment": self.segment,
            "at": self.at.isoformat(),
            "lease": holder,
        }

    @staticmethod
    def from_data(data: Mapping[str, Any], version: int, now: datetime) -> "Mark":
        """The reverse. What somebody else has written tells nothing: then it begins now."""
        try:
            begun, at = (datetime.fromisoformat(data[name]) for name in ("begun", "at"))
            if begun.tzinfo and at.tzinfo:
                return Mark(begun, int(data["segment"]), at, version)
        except (KeyError, TypeError, ValueError):
            pass
        return Mark(now, 0, now, version)


class Marks:
    """The mark of one source, from the side of who has its lease, of that number. Used by one thread."""

    def __init__(self, hub: StatePort, source: str, lease: int, now: datetime) -> None:
        """Raises what keeps the hub from answering, and Superseded where another comes between."""
        self._hub = hub
        self._source = source
        self._lease = lease
        state = hub.read_state(f"{JUDGED}/{source}")
        self.mark = Mark.from_data(state.data, state.version, now) if state else Mark(now, 0, now)
        self._write(self.mark)

    def move(self, segment: int, at: datetime) -> None:
        """Raises Superseded where another has the source, and what keeps the hub from answering."""
        self._write(replace(self.mark, segment=segment, at=at))

    def _write(self, mark: Mark) -> None:
        place = f"{JUDGED}/{self._source}"
        try:
            version = self._hub.write_state(place, mark.to_data(self._lease), cas=mark.version)
        except Conflict:
            raise lease_ended(self._source) from None
        self.mark = replace(mark, version=version)
