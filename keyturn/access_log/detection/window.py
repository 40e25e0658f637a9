"""What is remembered of one principal: its accesses of the last 24 hours, in bounded memory."""

from collections import deque
from collections.abc import Callable, Hashable
from heapq import nsmallest
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from keyturn.access_log.detection.reorder import NEVER

if TYPE_CHECKING:
    from keyturn.access_log.detection.profile import Profile

DAY: Final = 86_400.0
"""Seconds of the window. What is exactly that old is outside."""

HOUR: Final = 3600.0

ADDRESSES: Final = 1_000
PATHS: Final = 10_000
"""How many addresses and paths of one principal are remembered; beyond, those that were seen longest ago go."""

PRINCIPALS: Final = 50_000
"""How many principals are remembered; beyond, those that were seen longest ago are forgotten, and counted."""

SPARE: Final = 10
"""What is full is emptied by this part of it, so that it need not be looked through again soon."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SeenPath:
    """A secret that a principal has asked for: when it was last given, and how such an access is judged."""

    __slots__ = ("at", "profile")

    def __init__(self, profile: "Profile") -> None:
        self.at = NEVER
        self.profile = profile


class PrincipalWindow:
    """One principal.

    ``paths`` and ``addresses`` say when each was last seen in a read that gave the value; ``profiles`` how it is
    judged, by policy. ``times`` are those of all accesses of the last 24 hours, no more of them than the limit and one,
    and older ones until ``tidy_at``. ``read_at`` is that of the last read that gave a value, ``last`` that of the last
    access but the one that is looked at. Until ``back_until`` the window reaches ``back_to`` a time before.
    """

    __slots__ = ("addresses", "back_to", "back_until", "last", "paths", "profiles", "read_at", "tidy_at", "times")

    def __init__(self) -> None:
        self.times: deque[float] = deque(maxlen=1)
        self.addresses: dict[str, float] = {}
        self.paths: dict[str, SeenPath] = {}
        self.profiles: dict[int, Profile] = {}
        self.tidy_at = self.read_at = self.last = self.back_to = self.back_until = NEVER

    def tidy(self, at: float) -> None:
        """Forget the times that are outside; once an hour is enough."""
        self.tidy_at = at + HOUR
        while self.times and self.times[0] <= at - DAY:
            self.times.popleft()

    def begin(self, path: str, profile: "Profile") -> SeenPath:
        """Look at a secret that it has not asked for before."""
        seen_path = self.paths[path] = SeenPath(profile)
        if len(self.paths) > PATHS:
            drop_least(self.paths, PATHS, lambda other: inf if other is seen_path else other.at)
        return seen_path

    def add_address(self, source: str, at: float) -> None:
        """That a value was given to an address that is new."""
        self.addresses[source] = at
        if len(self.addresses) > ADDRESSES:
            drop_least(self.addresses, ADDRESSES, lambda moment: moment)

    def has_read(self, path: str, source: str) -> bool:
        """Whether it was given this secret, and anything from this address, as far as it is remembered."""
        seen_path = self.paths.get(path)
        return seen_path is not None and seen_path.at != NEVER and source in self.addresses

    def come_back(self, at: float) -> None:
        """That nothing was read within 24 hours: for the next, the window before the last read counts, too.

        So a job that runs once a day is no stranger to itself, and a login that was stolen from it is one.
        """
        self.back_to, self.back_until = self.read_at - DAY, at + DAY

    def make_room(self, limit: int) -> None:
        """Let it count this many accesses a day, and one more."""
        if limit >= (self.times.maxlen or 0):
            self.times = deque(self.times, limit + 1)


def drop_least(mapping: dict[Key, Value], most: int, rank: Callable[[Value], float]) -> int:
    """Take those of the lowest rank out of what has grown above ``most``, and some more; how many they were."""
    over = len(mapping) - most + most // SPARE
    for key in nsmallest(over, mapping, key=lambda key: rank(mapping[key])):
        del mapping[key]
    return over
