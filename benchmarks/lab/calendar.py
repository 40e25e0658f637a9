"""Moments of a run: seconds since its first midnight in UTC, and what time that is for whom."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

START: Final = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday; within four weeks of it both America (8 March) and Europe (29 March) change their clocks."""
MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0
FRIDAY: Final = 4

ZONES: Final = ("America/Los_Angeles", "Europe/Zurich", "Europe/London", "Asia/Tokyo")


def moment(seconds: float) -> datetime:
    """That moment in UTC."""
    return START + timedelta(0, seconds)


@lru_cache(maxsize=4096)
def offset(zone: str, day: int) -> float:
    """Seconds that a zone's clocks are ahead of UTC at noon of that day of the run."""
    noon = (START + timedelta(days=day, hours=12)).astimezone(ZoneInfo(zone))
    ahead = noon.utcoffset()
    return ahead.total_seconds() if ahead else 0.0


def local(zone: str, day: int, hour: float) -> float:
    """When the clocks of a zone show that hour of that day."""
    return day * DAY + hour * HOUR - offset(zone, day)


@dataclass
class Calendar:
    """How long a run is, and which days nobody works where."""

    days: int
    warm_up: int
    holidays: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def drawn(cls, days: int, warm_up: int, seed: int) -> "Calendar":
        """One holiday for each zone, after the warm-up where there is a working day for it."""
        draw = Random(f"calendar {seed}")
        working = [day for day in range(days) if day % 7 <= FRIDAY]
        late = [day for day in working if day >= warm_up] or working
        return cls(days, warm_up, {zone: {draw.choice(late)} for zone in ZONES})

    def works(self, zone: str, day: int) -> bool:
        """Whether that is a working day there."""
        return day % 7 <= FRIDAY and day not in self.holidays[zone]
