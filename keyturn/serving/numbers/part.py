"""The part that reads the workspace's metrics, so that requests for them cost the hub nothing."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from keyturn.client.clock import elapsed
from keyturn.core.errors import KeyturnError, unexpected
from keyturn.serving.numbers.board import Board, Look, Numbers, Seen
from keyturn.serving.numbers.displayed import Area
from keyturn.serving.numbers.published import publish
from keyturn.serving.parts import NUMBERS, Part, PartHealth, Tenure
from keyturn.serving.site import Site
from keyturn.sync.lines import one_line

PAUSE: Final = 60.0
"""Seconds between two looks at an area."""
COPIES_PAUSE: Final = 300.0
"""Seconds between two looks that list every store."""
SHARE: Final = 4
"""A pause lasts at least this many times as long as its look."""
TICK: Final = 1.0
"""Seconds between two checks for areas that are due."""


Publish = Callable[[Area, Seen, float], None]
"""Publishes an area's metrics until the next look, in seconds. Raises KeyturnError."""


class NumbersPart:
    """Reads each area when due, for the board, and publishes it where configured."""

    name = NUMBERS

    def __init__(
        self,
        looks: Mapping[Area, Look],
        board: Board,
        say: Callable[[str], None],
        publish: Publish = lambda area, sighting, pause: None,
    ) -> None:
        self._looks = looks
        self._board = board
        self._say = say
        self._publish = publish
        self._unpublished = ""
        self._told: dict[Area, str] = {}

    def run(self, tenure: Tenure) -> None:
        """Read until the tenure ends, then clear the board."""
        due = dict.fromkeys(self._looks, float("-inf"))
        tenure.measure = self._health
        try:
            while not tenure.over:
                for area in [area for area, at in due.items() if at <= elapsed()]:
                    if tenure.over:
                        break
                    sighting = self._look(area)
                    pause = max(COPIES_PAUSE if area is Area.COPIES else PAUSE, SHARE * sighting.seconds)
                    due[area] = elapsed() + pause
                    self._keep(tenure, area, sighting, pause)
                tenure.wait(TICK)
        finally:
            self._board.clear()

    def _look(self, area: Area) -> Seen:
        began, trouble = elapsed(), ""
        numbers: Numbers | None = None
        try:
            numbers = self._looks[area]()
        except KeyturnError as error:
            trouble = one_line(str(error))
        except Exception as error:  # noqa: BLE001 - its text may hold anything, and the other areas are looked at
            trouble = one_line(str(unexpected(error)))
        sighting = Seen(datetime.now(UTC), elapsed() - began, numbers, trouble)
        self._board.put(area, sighting)
        if trouble and trouble != self._told.get(area):
            self._say(f"error: {self.name}: {area}: {trouble}")
        self._told[area] = trouble
        return sighting

    def _keep(self, tenure: Tenure, area: Area, sighting: Seen, pause: float) -> None:
        """Publish the metrics, unless another process may hold the part. A failure is reported once."""
        tenure.insist()
        trouble = ""
        try:
            self._publish(area, sighting, pause)
        except KeyturnError as error:
            trouble = one_line(str(error))
        if trouble and trouble != self._unpublished:
            self._say(f"error: {self.name}: what was seen can't be published: {trouble}")
        self._unpublished = trouble

    def _health(self) -> PartHealth:
        unseen = [str(area) for area, sighting in self._board.seen().items() if sighting.numbers is None]
        troubles = [f"can't be looked at: {', '.join(unseen)}"] if unseen else []
        return PartHealth(trouble="; ".join([*troubles, *(["can't be published"] if self._unpublished else [])]))


def numbers_parts(site: Site) -> Iterable[Part]:
    """Return the part; none where there is nothing to read."""
    if not site.looks:
        return []
    if not site.publishes:
        return [NumbersPart(site.looks, site.board, site.say)]

    def keep(area: Area, sighting: Seen, pause: float) -> None:
        publish(site.workspace().hub, area, sighting, pause)

    return [NumbersPart(site.looks, site.board, site.say, keep)]
