"""The part that tells the numbers that another process has looked at, with a login that may read nothing else."""

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
    """What the hub keeps of an area; without numbers where its entry is none, and None where there is none."""
    try:
        return load_published(hub, area)
    except Invalid as error:
        return Seen(datetime.now(UTC), 0.0, None, one_line(str(error)))


def relay_parts(site: Site) -> Iterable[Part]:
    """Of every site, and run where it is named alone."""
    return [RelayPart(lambda: site.workspace().hub, site.board)]
