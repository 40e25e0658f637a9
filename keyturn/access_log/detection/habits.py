"""What a principal does on other days: at which hours, how much, in which folders, from which networks."""

from math import inf
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.reorder import NEVER

HOUR: Final = 3600.0
DAY: Final = 86_400.0
"""Seconds of the window. What is exactly that old is outside."""

LEARNED: Final = 5
"""Days on which a principal was seen before anything is a habit of it."""

STEADY: Final = 3 * DAY
"""Seconds without a secret that is new to it, from which on a principal is taken for a steady one."""

FOLDERS: Final = 1_000
NETWORKS: Final = 200
PROGRAMS: Final = 20
"""How many of each are remembered of one principal; beyond, those that came first go."""

BRISK: Final = 3
"""A pace is strange where it is so many times that of the busiest hour before."""
FEW: Final = 60
"""Accesses within an hour that are never strange."""

DAY_HOURS: Final = 24
WEEK: Final = 168
FORTNIGHT: Final = 14
THURSDAY: Final = 4
"""The day of the week on which 1970 began, counted from Sunday."""


def folder_of(path: str) -> str:
    """Where a secret lies; one at the top is a folder of its own."""
    return path.rpartition("/")[0] or path


def _hour_bit(hour: int) -> int:
    """An hour of a day in UTC, as a bit; those of weekends are by themselves. Hours are counted since 1970."""
    weekend = (hour // DAY_HOURS + THURSDAY) % 7 in (0, 6)
    return 1 << (hour % DAY_HOURS + DAY_HOURS * weekend)


BITS: Final = tuple(map(_hour_bit, range(WEEK)))
NEAR: Final = tuple(_hour_bit(hour) | _hour_bit(hour - 1) | _hour_bit(hour + 1) for hour in range(WEEK))
"""The bit of each hour of a week that begins as 1970 did, and those of it and the hours beside it."""


class Habits:
    """One principal's.

    ``days`` counts those on which it was seen before today, ``hours`` are their hours (:data:`BITS`), ``busiest``
    is the most accesses of one of their hours and ``busiest_day`` of one of them. ``count`` are the accesses of this
    hour, which is strange above ``brisk``. ``folders``, ``networks`` and ``programs`` say when it was first given
    something there or from there. ``strange`` says when it did something that is not its habit.
    """

    __slots__ = (
        "brisk",
        "busiest",
        "busiest_day",
        "count",
        "day",
        "days",
        "first_day",
        "folders",
        "grown_at",
        "hours",
        "hours_today",
        "networks",
        "next_hour",
        "programs",
        "strange",
        "today",
    )

    def __init__(self) -> None:
        self.next_hour = self.grown_at = NEVER
        self.brisk = inf
        self.day = self.first_day = -1
        self.days = self.hours = self.hours_today = self.count = self.today = self.busiest = self.busiest_day = 0
        self.folders: dict[str, float] = {}
        self.networks: dict[str, float] = {}
        self.programs: dict[str, float] = {}
        self.strange: dict[str, float] = {}

    @property
    def learned(self) -> bool:
        """Whether enough is known of it."""
        return self.days >= LEARNED

    def is_steady(self, principal: str, at: float) -> bool:
        """Whether it reads the same for days, as programs do: people are given something new now and then."""
        return self.learned and self.grown_at <= at - STEADY and not is_person(principal)

    def is_near(self, path: str, at: float) -> bool:
        """Whether a secret lies in one of its folders or beside one, of those from before the last day.

        Folders at the top are beside nothing: what lies there has nothing in common.
        """
        folder, before = folder_of(path), at - DAY
        if self.folders.get(folder, at) <= before:
            return True
        parent, slash, _ = folder.rpartition("/")
        beside = (begun for own, begun in self.folders.items() if own.startswith(parent + slash))
        return bool(slash) and any(begun <= before for begun in beside)

    def begin_hour(self, at: float) -> bool:
        """Learn of the hour before; whether this one, with those beside it, is none of its hours."""
        hour, count = int(at // HOUR), self.count
        self.next_hour = (hour + 1) * HOUR
        if count > self.busiest:
            self.busiest = count
        self.today += count
        self.count = 0
        if hour // DAY_HOURS != self.day:
            self.begin_day(at)
        bit = BITS[hour % WEEK]
        if (self.hours | self.hours_today) & bit:
            return False
        self.hours_today |= bit
        return self.days >= LEARNED and not self.usual_hour(at)

    def usual_hour(self, at: float) -> bool:
        """Whether it was seen at this hour, or one beside it, on other days.

        Weekends are other days than the rest of the week once it was seen a fortnight ago.
        """
        near = NEAR[int(at // HOUR) % WEEK]
        if self.day < self.first_day + FORTNIGHT:
            near |= near >> DAY_HOURS | near << DAY_HOURS
        return bool(self.hours & near)

    def begin_day(self, at: float) -> None:
        """Learn of the day before."""
        if self.day >= 0:
            self.days += 1
        else:
            self.first_day = int(at // DAY)
        self.busiest_day = max(self.busiest_day, self.today)
        self.hours |= self.hours_today
        self.day, self.today, self.hours_today = int(at // DAY), 0, 0
        self.brisk = max(FEW, BRISK * self.busiest) if self.learned else inf

    def add_folder(self, path: str, at: float) -> None:
        """That it is given a secret that is new to it."""
        self.grown_at = at
        _add(self.folders, folder_of(path), at, FOLDERS)

    def add_network(self, source: str, at: float) -> None:
        """That it is given something at an address that is new to it."""
        _add(self.networks, network_of(source), at, NETWORKS)

    def add_program(self, program: str, at: float) -> None:
        """That it is given something by this program."""
        _add(self.programs, program, at, PROGRAMS)


def _add(firsts: dict[str, float], name: str, at: float, most: int) -> None:
    if name not in firsts:
        firsts[name] = at
        if len(firsts) > most:
            drop_least(firsts, most, lambda moment: moment)
