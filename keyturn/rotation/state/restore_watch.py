"""Whether the hub was restored and not yet recovered: checked before its values are pushed."""

import time
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.restored import MarkedHub, Restoration, RestoredMark, read_mark

BELIEVED: Final = 30.0
"""Seconds for which "no open mark" is cached. An open mark is never cached."""


@dataclass
class RestoreWatch:
    """Reads a hub's mark as rarely as possible. Shared by threads."""

    clean: tuple[MarkedHub, float, RestoredMark | None] | None = None
    """The hub without an open mark, when it was read, and its closed mark."""

    def open_mark(self, hub: MarkedHub) -> RestoredMark | None:
        """The mark of a restored hub until `keyturn repair recover` has finished; None for every other hub.

        Raises Denied and Unavailable where it can't be read, and Invalid for an edited mark.
        """
        return mark if (mark := self._mark(hub)) and mark.open else None

    def look(self, hub: MarkedHub) -> Restoration:
        """The restoration state for reports; errors are returned, not raised."""
        try:
            return Restoration(self._mark(hub))
        except KeyturnError as error:
            return Restoration(error=error)

    def _mark(self, hub: MarkedHub) -> RestoredMark | None:
        now = time.monotonic()
        if self.clean and self.clean[0] is hub and now - self.clean[1] < BELIEVED:
            return self.clean[2]
        mark = read_mark(hub)
        if not (mark and mark.open):
            self.clean = hub, now, mark
        return mark
