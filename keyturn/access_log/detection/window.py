"""The bounded memory of one principal's last 24 hours."""

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
"""The most addresses and paths per principal. The least recent are forgotten."""

TRAVEL: Final = 600.0
"""The shortest travel time of a person in seconds."""

STAY: Final = 2 * 3600.0
"""Seconds for which a visit is watched."""

ROAMING: Final = 3
"""A program's addresses after which others in its networks are not new."""

PRINCIPALS: Final = 50_000
"""The most principals. The least recent are forgotten and counted."""


class Visit:
    """A person's new network, the login made there, and later reads elsewhere."""

    __slots__ = ("elsewhere", "login", "network")

    def __init__(self, network: str, login: str) -> None:
        self.network = network
        self.login = login
        self.elsewhere = ""


class SeenPath:
    """A secret that a principal requested, and when it was first and last returned.

    ``profile`` is a :class:`keyturn.access_log.detection.profile.Profile`.
    """

    __slots__ = ("at", "begun", "profile")

    def __init__(self, profile: Any) -> None:
        self.at = self.begun = NEVER
        self.profile = profile


class PrincipalWindow(Habits):
    """One principal's last 24 hours and habits, in one object for speed.

    ``paths`` and ``addresses`` have the last successful reads, ``profiles`` is by policy, ``times`` has at most the
    limit and one. ``moved_at`` and ``moved_to`` are the last new address, ``read_at`` the last successful read,
    ``last`` the previous access. Until ``watched_until`` accesses are checked for a ``visit``. Until ``back_until`` the
    window begins at ``back_to``.
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
        """Learn from the previous day, and forget old times."""
        super().begin_day(at)
        while self.times and self.times[0] <= at - DAY:
            self.times.popleft()

    def begin(self, path: str, profile: Any) -> SeenPath:
        """Add a secret that it has not requested before."""
        seen_path = self.paths[path] = SeenPath(profile)
        if len(self.paths) > PATHS:
            drop_least(self.paths, PATHS, lambda other: inf if other is seen_path else other.at)
        return seen_path

    def add_path(self, path: str, seen_path: SeenPath, at: float) -> None:
        """Learn the first read of a secret."""
        seen_path.begun = at
        self.add_folder(path, at)

    def add_address(self, source: str, at: float) -> None:
        """Learn the first read from an address."""
        self.addresses[source] = self.moved_at = at
        self.moved_to = source
        self.add_network(source, at)
        if len(self.addresses) > ADDRESSES:
            drop_least(self.addresses, ADDRESSES, lambda moment: moment)

    def has_read(self, path: str, source: str) -> bool:
        """Whether it has read this secret, and from this address or a roaming network."""
        return self.was_given(path) and (source in self.addresses or self.is_roaming(source))

    def begins_anew(self, source: str, at: float) -> bool:
        """Whether it moved to a new address here within a day, and has few."""
        if len(self.addresses) >= self.days:
            return False
        moved = self.moved_at > at - DAY and network_of(self.moved_to) == network_of(source)
        return moved or source not in self.addresses

    def is_roaming(self, source: str) -> bool:
        """Whether it has several addresses and knows this network."""
        return len(self.addresses) >= ROAMING and network_of(source) in self.networks

    def is_visit(self, access: Access, at: float) -> bool:
        """Whether it is a person who logged in today with the same program, and was recently nowhere else.

        Logins made elsewhere count if the log contains programs.
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
        """Learn that it visits a new network."""
        network = network_of(access.source)
        session = self.logins.session(access)
        made_here = session is not None and network_of(session.source) == network
        self.visit, self.watched_until = Visit(network, access.login if made_here else ""), at + STAY

    def elsewhere(self, access: Access) -> str:
        """The other place of reads during a visit, if any."""
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
        """Whether it is remembered to have read this secret."""
        seen_path = self.paths.get(path)
        return seen_path is not None and seen_path.at != NEVER

    def knows(self, path: str, source: str, at: float) -> bool:
        """Whether it had read this secret, and from this network, by then."""
        seen_path = self.paths.get(path)
        if seen_path is None or not NEVER < seen_path.begun <= at:
            return False
        return not source or self.networks.get(network_of(source), inf) <= at

    def come_back(self, at: float) -> None:
        """Extend the window before the last read, after 24 hours without any.

        So a daily job is not strange, but a login stolen from it is.
        """
        self.back_to, self.back_until = self.read_at - DAY, at + DAY

    def make_room(self, limit: int) -> None:
        """Make room for this many accesses and one more."""
        if limit >= (self.times.maxlen or 0):
            self.times = deque(self.times, limit + 1)
