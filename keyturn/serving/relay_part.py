"""The part that tells the numbers that another process has looked at, with a login that may read nothing else."""

from collections.abc import Callable, Iterable
from typing import Final

from keyturn.core.errors import NotFound
from keyturn.core.hub import StatePort
from keyturn.serving.board import Board
from keyturn.serving.parts import RELAY, Part, PartHealth, Tenure
from keyturn.serving.published import load_published
from keyturn.serving.shown import Area
from keyturn.serving.site import Site

PAUSE: Final = 15.0
"""Seconds between two readings of what was seen."""


class RelayPart:
    """Puts on the board what the hub keeps of each area. ``areas`` are all of them."""

    name = RELAY

    def __init__(self, hub: Callable[[], StatePort], board: Board, areas: Iterable[Area] = tuple(Area)) -> None:
        self._hub = hub
        self._board = board
        self._areas = tuple(areas)

    def run(self, tenure: Tenure) -> None:
        """Until the part ends; then nothing is told here any more.

        Raises what keeps the hub from telling, and NotFound where nobody has ever published anything.
        """
        tenure.measure = self._health
        try:
            while not tenure.over:
                self.read()
                tenure.wait(PAUSE)
        finally:
            self._board.clear()

    def read(self) -> None:
        """All that is kept, once. Raises as :meth:`run` does."""
        hub = self._hub()
        for area in self._areas:
            if sighting := load_published(hub, area):
                self._board.put(area, sighting)
        if not self._board.seen():
            hint = "Run `keyturn serve --only numbers --publish` somewhere, with a worker's login"
            raise NotFound("tell", "the numbers", "no process has put any into the hub", hint)

    def _health(self) -> PartHealth:
        unseen = [str(area) for area, sighting in self._board.seen().items() if sighting.numbers is None]
        return PartHealth(trouble=f"can't be looked at: {', '.join(unseen)}" if unseen else "")


def relay_parts(site: Site) -> Iterable[Part]:
    """Of every site, and run where it is named alone."""
    return [RelayPart(lambda: site.workspace().hub, site.board)]
