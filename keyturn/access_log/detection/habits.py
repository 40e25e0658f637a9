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

SEVERAL: Final = 4
SEVERAL_OF_A_PERSON: Final = 8
"""Secrets that are new to a principal on one day, and strange from so many on where no day before had half of them."""

TIMETABLE: Final = 6
KEPT: Final = 4
"""Hours of the day to which a program keeps that has a timetable, at most; others come on one of so many days."""

AWAY: Final = 7 * DAY
WOKEN: Final = 10
"""Accesses within an hour that are never strange of who was not there for a week."""

SELDOM: Final = 7
"""Days since a principal was first seen, from which on two days tell something of it, too."""

DAY_HOURS: Final = 24
WEEK: Final = 168
FORTNIGHT: Final = 14
WHOLE_DAY: Final = (1 << DAY_HOURS) - 1
THURSDAY: Final = 4
"""The day of the week on which 1970 began, counted from Sunday."""


def folder_of(path: str) -> str:
    """Where a secret lies; one at the top is a folder of its own."""
    return path.rpartition("/")[0] or path


def program_of(agent: str) -> str:
    """A program's name without its release, from what it says of itself."""
    return agent.partition("/")[0].strip()


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
    hour, which is strange above ``brisk``. Of today ``grown`` counts the secrets that are new to it, ``burst`` and
    ``burst_hour`` are its busiest hour; on ``rounds`` days in a row that was ``round_hour``, or beside it, and
    ``outside`` is the most of other hours, of all days but one. ``hours_grown``
    counts days that brought other hours, ``hosts`` addresses by their network. ``folders``, ``networks`` and
    ``programs`` say when it was first given something there or from there. ``strange`` says when it did something that
    is not its habit. ``away`` are the seconds that it
    was away before today.
    """

    __slots__ = (
        "away",
        "brisk",
        "burst",
        "burst_hour",
        "busiest",
        "busiest_before",
        "busiest_day",
        "count",
        "day",
        "days",
        "first_day",
        "folders",
        "grown",
        "grown_at",
        "grown_most",
        "hosts",
        "hours",
        "hours_grown",
        "hours_today",
        "networks",
        "next_hour",
        "off_round",
        "outside",
        "outside_most",
        "outside_today",
        "programs",
        "round_hour",
        "rounds",
        "strange",
        "today",
    )

    def __init__(self) -> None:
        self.next_hour = self.grown_at = NEVER
        self.brisk = inf
        self.day = self.first_day = -1
        self.days = self.hours = self.hours_today = self.count = self.today = self.busiest = self.busiest_day = 0
        self.grown = self.grown_most = self.burst = self.burst_hour = self.rounds = self.outside = 0
        self.outside_most = self.outside_today = self.hours_grown = self.busiest_before = 0
        self.away = 0.0
        self.round_hour = -1
        self.off_round = False
        self.hosts: dict[str, int] = {}
        self.folders: dict[str, float] = {}
        self.networks: dict[str, float] = {}
        self.programs: dict[str, float] = {}
        self.strange: dict[str, float] = {}

    @property
    def learned(self) -> bool:
        """Whether enough is known of it."""
        return self.days >= LEARNED

    @property
    def recurs(self) -> bool:
        """Whether it comes now and then, for a week or more."""
        return self.days > 1 and self.day >= self.first_day + SELDOM

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
        before = int(self.next_hour // HOUR - 1) % DAY_HOURS if count else 0
        self.next_hour = (hour + 1) * HOUR
        if count > self.busiest:
            self.busiest = count
        if count > self.burst:
            self.burst, self.burst_hour = count, before
        if count > self.outside_today and not self.in_round(before):
            self.outside_today = count
        self.today += count
        self.count = 0
        if hour // DAY_HOURS != self.day:
            self.begin_day(at)
        self.off_round = self.rounds >= LEARNED and not self.in_round(hour % DAY_HOURS)
        if self.learned:
            self.brisk = max(FEW, BRISK * (self.outside if self.off_round else self.busiest_before))
        elif self.days:
            self.brisk = max(WOKEN, BRISK * self.busiest_before) if self.away > AWAY else inf
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
        today = int(at // DAY)
        if self.day >= 0:
            self.days += 1
            self.away = (today - self.day - 1) * DAY
        else:
            self.first_day = today
        self.busiest_day = max(self.busiest_day, self.today)
        if self.days > 1:
            self.grown_most = max(self.grown_most, self.grown)
        self._learn_round()
        if _of_any_day(self.hours_today) & ~_of_any_day(self.hours):
            self.hours_grown += self.days > 1
        self.hours |= self.hours_today
        self.day, self.today, self.hours_today = today, 0, 0
        self.busiest_before, self.grown = self.busiest, 0

    def _learn_round(self) -> None:
        """Whether the busiest hour of the day before was its round, and how much it did beside that."""
        self.outside = max(self.outside, min(self.outside_most, self.outside_today))
        self.outside_most = max(self.outside_most, self.outside_today)
        if self.burst > FEW and self.in_round(self.burst_hour):
            self.rounds += 1
        elif self.burst > FEW:
            self.round_hour, self.rounds, self.outside, self.outside_most = self.burst_hour, 1, 0, 0
        self.burst = self.outside_today = 0

    def in_round(self, hour: int) -> bool:
        """Whether an hour of the day is that, or beside that, in which its busiest of the last days was."""
        return self.round_hour >= 0 and (hour - self.round_hour + 1) % DAY_HOURS <= 2

    @property
    def timetabled(self) -> bool:
        """Whether it keeps to few hours of the day, and others were added seldom."""
        few = _of_any_day(self.hours).bit_count() <= TIMETABLE
        return few and self.learned and self.hours_grown * KEPT <= self.days

    def grows_fast(self, several: int) -> bool:
        """Whether one secret more that is new to it is one of ``several``, and of many more than on any day before."""
        return self.grown + 1 >= max(several, 2 * self.grown_most)

    def add_folder(self, path: str, at: float) -> None:
        """That it is given a secret that is new to it."""
        self.grown_at = at
        self.grown += 1
        _add(self.folders, folder_of(path), at, FOLDERS)

    def add_network(self, source: str, at: float) -> None:
        """That it is given something at an address that is new to it."""
        network = network_of(source)
        self.hosts[network] = self.hosts.get(network, 0) + 1
        _add(self.networks, network, at, NETWORKS)
        if len(self.hosts) > NETWORKS:
            self.hosts = {name: count for name, count in self.hosts.items() if name in self.networks}

    def add_program(self, agent: str, at: float) -> None:
        """That it is given something by the program of that name."""
        if agent:
            _add(self.programs, program_of(agent), at, PROGRAMS)

    def has_program(self, agent: str) -> bool:
        """Whether it was given something by that program, whatever the release; what a log does not tell is none."""
        return not agent or program_of(agent) in self.programs


def _of_any_day(hours: int) -> int:
    """Those of weekends and of other days together."""
    return (hours | hours >> DAY_HOURS) & WHOLE_DAY


def _add(firsts: dict[str, float], name: str, at: float, most: int) -> None:
    if name not in firsts:
        firsts[name] = at
        if len(firsts) > most:
            drop_least(firsts, most, lambda moment: moment)
