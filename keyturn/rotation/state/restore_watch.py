"""Whether the hub was restored and not yet recovered: checked before its values are pushed."""

import time
from dataclasses import dataclass
from typing import Final

from keyturn.core.ports.restored import MarkedHub, RestoredMark, read_mark

BELIEVED: Final = 30.0
"""Seconds for which "no open mark" is cached. An open mark is never cached."""


@dataclass
class RestoreWatch:
    """Reads a hub's mark as rarely as possible. Shared by threads."""

    clean: tuple[MarkedHub, float] | None = None

    def open_mark(self, hub: MarkedHub) -> RestoredMark | None:
        """The mark of a restored hub until `keyturn repair recover` has finished; None for every other hub.

        Raises Denied and Unavailable where it can't be read, and Invalid for an edited mark.
        """
        now = time.monotonic()
        if self.clean and self.clean[0] is hub and now - self.clean[1] < BELIEVED:
            return None
        mark = read_mark(hub)
        if mark and mark.open:
            return mark
        self.clean = hub, now
        return None
