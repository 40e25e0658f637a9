"""A principal's habits: hours, amounts, folders and networks."""

from math import inf
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.reorder import NEVER

HOUR: Final = 3600.0
DAY: Final = 86_400.0
"""Seconds of the window. An access of exactly this age is outside."""

LEARNED: Final = 5
"""Days on which a principal was seen before it has habits."""

STEADY: Final = 3 * DAY
"""Seconds without new secrets that make a principal steady."""

FOLDERS: Final = 1_000
NETWORKS: Final = 200
PROGRAMS: Final = 20
"""The most of each per principal. Beyond it, the first are forgotten."""

BRISK: Final = 3
"""The multiple of the busiest earlier hour that is strange."""
FEW: Final = 60
"""Accesses within an hour that are never strange."""

SEVERAL: Final = 4
SEVERAL_OF_A_PERSON: Final = 8
"""New secrets per day that are strange, if no day had half."""

TIMETABLE: Final = 6
KEPT: Final = 4
"""The most hours of a timetable, and the fewest days per day with other hours."""

AWAY: Final = 7 * DAY
WOKEN: Final = 10
"""Accesses per hour that are normal after a week's absence."""

SELDOM: Final = 7
"""Days since the first one after which two days show a habit."""

DAY_HOURS: Final = 24
WEEK: Final = 168
FORTNIGHT: Final = 14
WHOLE_DAY: Final = (1 << DAY_HOURS) - 1
THURSDAY: Final = 4
"""The weekday of 1970-01-01, counted from Sunday."""


def folder_of(path: str) -> str:
    """A secret's folder, or itself at the top."""
    return path.rpartition("/")[0] or path


def program_of(agent: str) -> str:
    """A program's name without its version, from its user agent."""
    return agent.partition("/")[0].strip()


def _hour_bit(hour: int) -> int:
    """The bit of an hour since 1970 in UTC. Weekends have their own."""
    weekend = (hour // DAY_HOURS + THURSDAY) % 7 in (0, 6)
    return 1 << (hour % DAY_HOURS + DAY_HOURS * weekend)


BITS: Final = tuple(map(_hour_bit, range(WEEK)))
NEAR: Final = tuple(_hour_bit(hour) | _hour_bit(hour - 1) | _hour_bit(hour + 1) for hour in range(WEEK))
"""The bit of each hour of a week that begins like 1970, and with the adjacent hours."""


class Habits:
    """The habits of one principal.

    Earlier days: ``days``, their ``hours`` (:data:`BITS`), most accesses per hour and day (``busiest``,
    ``busiest_day``), seconds ``away``. Today: ``count`` of this hour, strange above ``brisk``, new secrets ``grown``,
    busiest hour ``burst_hour`` with ``burst``.

    The busiest hour was about ``round_hour`` on ``rounds`` days in a row. ``outside`` is the most in other hours of all
    days but one. ``hours_grown`` counts days with new hours, ``hosts`` addresses by network. ``folders``, ``networks``
    and ``programs`` have first times, ``strange`` has times of unusual behaviour.
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
        """Whether enough is known about it."""
        return self.days >= LEARNED

    @property
    def recurs(self) -> bool:
        """Whether it was seen on several days over a week."""
        return self.days > 1 and self.day >= self.first_day + SELDOM

    def is_steady(self, principal: str, at: float) -> bool:
        """Whether it has read the same for days, as programs do."""
        return self.learned and self.grown_at <= at - STEADY and not is_person(principal)

    def is_near(self, path: str, at: float) -> bool:
        """Whether a secret is in, or next to, a folder known a day ago.

        Top-level folders are unrelated, so nothing is next to them.
        """
        folder, before = folder_of(path), at - DAY
        if self.folders.get(folder, at) <= before:
            return True
        parent, slash, _ = folder.rpartition("/")
        beside = (begun for own, begun in self.folders.items() if own.startswith(parent + slash))
        return bool(slash) and any(begun <= before for begun in beside)

    def begin_hour(self, at: float) -> bool:
        """Learn from the previous hour. Whether this one is unusual."""
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
        """Whether it was seen at about this hour on other days.

        After a fortnight, weekends count separately.
        """
        near = NEAR[int(at // HOUR) % WEEK]
        if self.day < self.first_day + FORTNIGHT:
            near |= near >> DAY_HOURS | near << DAY_HOURS
        return bool(self.hours & near)

    def begin_day(self, at: float) -> None:
        """Learn from the previous day."""
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
        """Learn the previous day's busiest hour, and the most outside it."""
        self.outside = max(self.outside, min(self.outside_most, self.outside_today))
        self.outside_most = max(self.outside_most, self.outside_today)
        if self.burst > FEW and self.in_round(self.burst_hour):
            self.rounds += 1
        elif self.burst > FEW:
            self.round_hour, self.rounds, self.outside, self.outside_most = self.burst_hour, 1, 0, 0
        self.burst = self.outside_today = 0

    def in_round(self, hour: int) -> bool:
        """Whether an hour is about the usual busiest one."""
        return self.round_hour >= 0 and (hour - self.round_hour + 1) % DAY_HOURS <= 2

    @property
    def timetabled(self) -> bool:
        """Whether it keeps to few hours, and new ones are rare."""
        few = _of_any_day(self.hours).bit_count() <= TIMETABLE
        return few and self.learned and self.hours_grown * KEPT <= self.days

    def grows_fast(self, several: int) -> bool:
        """Whether one more new secret is strange."""
        return self.grown + 1 >= max(several, 2 * self.grown_most)

    def add_folder(self, path: str, at: float) -> None:
        """Learn that it read a new secret."""
        self.grown_at = at
        self.grown += 1
        _add(self.folders, folder_of(path), at, FOLDERS)

    def add_network(self, source: str, at: float) -> None:
        """Learn that it read from a new address."""
        network = network_of(source)
        self.hosts[network] = self.hosts.get(network, 0) + 1
        _add(self.networks, network, at, NETWORKS)
        if len(self.hosts) > NETWORKS:
            self.hosts = {name: count for name, count in self.hosts.items() if name in self.networks}

    def add_program(self, agent: str, at: float) -> None:
        """Learn that it read with this program."""
        if agent:
            _add(self.programs, program_of(agent), at, PROGRAMS)


def _of_any_day(hours: int) -> int:
    """Hours of weekends and other days combined."""
    return (hours | hours >> DAY_HOURS) & WHOLE_DAY


def _add(firsts: dict[str, float], name: str, at: float, most: int) -> None:
    if name not in firsts:
        firsts[name] = at
        if len(firsts) > most:
            drop_least(firsts, most, lambda moment: moment)
