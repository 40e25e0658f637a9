"""The part that reports another process's metrics, with a login that can read nothing else."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from keyturn.core.errors import Invalid, NotFound
from keyturn.core.ports.hub import StatePort
from keyturn.serving.numbers.board import Board, Seen
from keyturn.serving.numbers.displayed import Area
from keyturn.serving.numbers.published import load_published
from keyturn.serving.parts import RELAY, Part, PartHealth, Tenure
from keyturn.serving.site import Site
from keyturn.sync.lines import one_line

PAUSE: Final = 15.0
"""Seconds between two reads of the published metrics."""


class RelayPart:
    """Puts the published metrics of each area on the board."""

    name = RELAY

    def __init__(self, hub: Callable[[], StatePort], board: Board, areas: Iterable[Area] = tuple(Area)) -> None:
        self._hub = hub
        self._board = board
        self._areas = tuple(areas)

    def run(self, tenure: Tenure) -> None:
        """Read until the tenure ends, then clear the board.

        Raises the hub's errors, and NotFound where nothing was ever published.
        """
        tenure.measure = self._health
        try:
            while not tenure.over:
                self.read()
                tenure.wait(PAUSE)
        finally:
            self._board.clear()

    def read(self) -> None:
        """Read all areas once. Raises as :meth:`run` does."""
        hub = self._hub()
        for area in self._areas:
            sighting = seen_of(hub, area)
            if sighting is None and area in self._board.seen():
                sighting = Seen(datetime.now(UTC), 0.0, None, "what was seen is gone")
            if sighting:
                self._board.put(area, sighting)
        if not self._board.seen():
            hint = "Run `keyturn serve --only numbers --publish` somewhere, with a worker's login"
            raise NotFound("tell", "the numbers", "no process has put any into the hub", hint)

    def _health(self) -> PartHealth:
        unseen = [str(area) for area, sighting in self._board.seen().items() if sighting.numbers is None]
        return PartHealth(trouble=f"can't be looked at: {', '.join(unseen)}" if unseen else "")


def seen_of(hub: StatePort, area: Area) -> Seen | None:
    """Return an area's published metrics: without numbers for an unreadable entry, None where missing."""
    try:
        return load_published(hub, area)
    except Invalid as error:
        return Seen(datetime.now(UTC), 0.0, None, one_line(str(error)))


def relay_parts(site: Site) -> Iterable[Part]:
    """Return the part; it is in every site, and runs only where named."""
    return [RelayPart(lambda: site.workspace().hub, site.board)]
