"""How far each source was judged and its alerts sent. After a restart, the missing alerts after it are sent.

A mark is written over the version that its holder read at the start, so a former holder can't move it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from keyturn.core.errors import Conflict
from keyturn.core.ports.hub import StatePort
from keyturn.serving.parts import lease_ended

JUDGED: Final = "serve/judged"
"""The path of the marks in Keyturn's mount: ``serve/judged/<source>``."""


@dataclass(frozen=True)
class Mark:
    """Segments below ``segment`` are judged, and their alerts were sent at ``at``.

    Accesses before ``begun`` are only learned, because they preceded the monitoring. ``version`` is that of the entry.
    """

    begun: datetime
    segment: int
    at: datetime
    version: int = 0

    def to_data(self, holder: int) -> dict[str, Any]:
        """Return the data for the hub, with the number of the writer's lease."""
        return {
            "begun": self.begun.isoformat(),
            "segment": self.segment,
            "at": self.at.isoformat(),
            "lease": holder,
        }

    @staticmethod
    def from_data(data: Mapping[str, Any], version: int, now: datetime) -> "Mark":
        """Return the mark in this data. An unreadable entry counts as a start now."""
        try:
            begun, at = (datetime.fromisoformat(data[name]) for name in ("begun", "at"))
            if begun.tzinfo and at.tzinfo:
                return Mark(begun, int(data["segment"]), at, version)
        except (KeyError, TypeError, ValueError):
            pass
        return Mark(now, 0, now, version)


class Marks:
    """The mark of one source, for the holder of its lease. Used by one thread."""

    def __init__(self, hub: StatePort, source: str, lease: int, now: datetime) -> None:
        """Read the mark and write it again. Raises Superseded for another holder, and the hub's errors."""
        self._hub = hub
        self._source = source
        self._lease = lease
        state = hub.read_state(f"{JUDGED}/{source}")
        self.mark = Mark.from_data(state.data, state.version, now) if state else Mark(now, 0, now)
        self._write(self.mark)

    def move(self, segment: int, at: datetime) -> None:
        """Move the mark. Raises Superseded for another holder, and the hub's errors."""
        self._write(replace(self.mark, segment=segment, at=at))

    def _write(self, mark: Mark) -> None:
        place = f"{JUDGED}/{self._source}"
        try:
            version = self._hub.write_state(place, mark.to_data(self._lease), cas=mark.version)
        except Conflict:
            raise lease_ended(self._source) from None
        self.mark = replace(mark, version=version)
