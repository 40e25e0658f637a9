"""Whether the hub was restored and nobody has settled that yet: asked before anything of it is carried anywhere."""

import time
from dataclasses import dataclass
from typing import Final

from keyturn.core.ports.restored import MarkedHub, RestoredMark, read_mark

BELIEVED: Final = 30.0
"""Seconds for which a hub without an open mark is believed to have none. One that is marked is asked each time."""


@dataclass
class RestoreWatch:
    """Asks a hub for its mark, as seldom as it may. Serves many threads."""

    clean: tuple[MarkedHub, float] | None = None

    def open_mark(self, hub: MarkedHub) -> RestoredMark | None:
        """The mark of a hub that was restored, until `keyturn recover` has gone through; None for every other hub.

        Raises Denied and Unavailable where nobody can look, and Invalid for a mark that somebody has edited.
        """
        now = time.monotonic()
        if self.clean and self.clean[0] is hub and now - self.clean[1] < BELIEVED:
            return None
        mark = read_mark(hub)
        if mark and mark.open:
            return mark
        self.clean = hub, now
        return None
