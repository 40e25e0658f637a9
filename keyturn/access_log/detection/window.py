"""What is remembered of one principal: its accesses of the last 24 hours, in bounded memory."""

from collections import deque
from math import inf
from typing import Any, Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.habits import DAY, Habits, program_of
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.logins import NO_LOGINS, PrincipalLogins
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.reorder import NEVER
from keyturn.core.ports.access import Access

ADDRESSES: Final = 1_000
PATHS: Final = 10_000
"""How many addresses and paths of one principal are remembered; beyond, those that were seen longest ago go."""

TRAVEL: Final = 600.0
"""Seconds that a person is on the way from one network to another at least."""

STAY: Final = 2 * 3600.0
"""Seconds that a person who has come to another network stays there, or is at two places."""

ROAMING: Final = 3
"""Addresses of a program, from which on another one in its networks is nothing new: it gets them as they come."""

PRINCIPALS: Final = 50_000
"""How many principals are remembered; beyond, those that were seen longest ago are forgotten, and counted."""


class Visit:
    """A network that a person has come to, the login that was made there, empty where one was carried, and where else
    something was read since.
    """

    __slots__ = ("elsewhere", "login", "network")

    def __init__(self, network: str, login: str) -> None:
        self.network = network
        self.login = login
        self.elsewhere = ""


class SeenPath:
    """A secret that a principal has asked for: when it was first and last given.

    ``profile`` is a :class:`keyturn.access_log.detection.profile.Profile`, which says how such an access is judged.
    """

    __slots__ = ("at", "begun", "profile")

    def __init__(self, profile: Any) -> None:
        self.at = self.begun = NEVER
        self.profile = profile


class PrincipalWindow(Habits):
    """One principal: what it did in the last 24 hours, and its habits, in one object that is quickly looked at.

    ``paths`` and ``addresses`` say when each was last seen in a read that gave the value; ``profiles`` how it is
    judged, by policy. ``times`` are those of all accesses of the last 24 hours and of the day before, no more of them
    than the limit and one. ``moved_at`` is when it was last given a value at an address that was new, ``moved_to`` that
    address. ``read_at`` is that of the last read that gave a value, ``last`` that of the last access but the one that
    is looked at. Until ``watched_until`` each access is looked at closely, for a ``visit``. Until ``back_until`` the
    window reaches ``back_to`` a time before. ``logins`` tell how it logged in.
    """

    __slots__ = (
        "addresses",
        "back_to",
        "back_until",
        "last",
        "logins",
        "moved_at",
        "moved_to",
        "paths",
        "profiles",
        "read_at",
        "times",
        "visit",
        "watched_until",
    )

    def __init__(self, logins: PrincipalLogins = NO_LOGINS) -> None:
        super().__init__()
        self.logins = logins
        self.times: deque[float] = deque(maxlen=1)
        self.addresses: dict[str, float] = {}
        self.paths: dict[str, SeenPath] = {}
        self.profiles: dict[int, Any] = {}
        self.read_at = self.last = self.back_to = self.back_until = self.watched_until = self.moved_at = NEVER
        self.moved_to = ""
        self.visit: Visit | None = None

    def begin_day(self, at: float) -> None:
        """Learn of the day before, and forget the times that are outside."""
        super().begin_day(at)
        while self.times and self.times[0] <= at - DAY:
            self.times.popleft()

    def begin(self, path: str, profile: Any) -> SeenPath:
        """Look at a secret that it has not asked for before."""
        seen_path = self.paths[path] = SeenPath(profile)
        if len(self.paths) > PATHS:
            drop_least(self.paths, PATHS, lambda other: inf if other is seen_path else other.at)
        return seen_path

    def add_path(self, path: str, seen_path: SeenPath, at: float) -> None:
        """That it is given a secret for the first time."""
        seen_path.begun = at
        self.add_folder(path, at)

    def add_address(self, source: str, at: float) -> None:
        """That a value was given to an address that is new."""
        self.addresses[source] = self.moved_at = at
        self.moved_to = source
        self.add_network(source, at)
        if len(self.addresses) > ADDRESSES:
            drop_least(self.addresses, ADDRESSES, lambda moment: moment)

    def has_read(self, path: str, source: str) -> bool:
        """Whether it was given this secret, and anything from this address, as far as it is remembered.

        Whose addresses change has them in networks of its own.
        """
        return self.was_given(path) and (source in self.addresses or self.is_roaming(source))

    def begins_anew(self, source: str, at: float) -> bool:
        """Whether it came to a new address in this network within a day, though it comes from few."""
        if len(self.addresses) >= self.days:
            return False
        moved = self.moved_at > at - DAY and network_of(self.moved_to) == network_of(source)
        return moved or source not in self.addresses

    def is_roaming(self, source: str) -> bool:
        """Whether it has several addresses, and was given something from this network."""
        return len(self.addresses) >= ROAMING and network_of(source) in self.networks

    def is_visit(self, access: Access, at: float) -> bool:
        """Whether it is a person who logged in today, by the same program, and was nowhere else just now.

        Where the login was made somewhere else, it was carried from there, if the log tells of programs.
        """
        session = self.logins.session(access)
        if session is None or session.guessed or session.at <= at - DAY or not is_person(access.principal):
            return False
        network = network_of(access.source)
        made_here = network_of(session.source) == network
        if session.program != program_of(access.agent) or not (session.program or made_here):
            return False
        since = session.at - TRAVEL if made_here else at - TRAVEL
        return all(network_of(source) == network for source, moment in self.addresses.items() if moment > since)

    def begin_visit(self, access: Access, at: float) -> None:
        """That it comes to a network that is new to it, where it has shown to be."""
        network = network_of(access.source)
        session = self.logins.session(access)
        made_here = session is not None and network_of(session.source) == network
        self.visit, self.watched_until = Visit(network, access.login if made_here else ""), at + STAY

    def elsewhere(self, access: Access) -> str:
        """Where it reads besides the network that it has just come to; empty where it stays, or goes on from there."""
        visit = self.visit
        if visit is None or not access.source:
            return ""
        if network_of(access.source) == visit.network:
            return visit.elsewhere
        if not visit.login or access.login != visit.login:
            visit.elsewhere = access.source
            return visit.network
        self.visit, self.watched_until = None, NEVER
        return ""

    def was_given(self, path: str) -> bool:
        """Whether it was given this secret, as far as it is remembered."""
        seen_path = self.paths.get(path)
        return seen_path is not None and seen_path.at != NEVER

    def knows(self, path: str, source: str, at: float) -> bool:
        """Whether it was given this secret, and anything from this network, before that moment."""
        seen_path = self.paths.get(path)
        if seen_path is None or not NEVER < seen_path.begun <= at:
            return False
        return not source or self.networks.get(network_of(source), inf) <= at

    def come_back(self, at: float) -> None:
        """That nothing was read within 24 hours: for the next, the window before the last read counts, too.

        So a job that runs once a day is no stranger to itself, and a login that was stolen from it is one.
        """
        self.back_to, self.back_until = self.read_at - DAY, at + DAY

    def make_room(self, limit: int) -> None:
        """Let it count this many accesses a day, and one more."""
        if limit >= (self.times.maxlen or 0):
            self.times = deque(self.times, limit + 1)
