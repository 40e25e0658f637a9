"""Many secrets that one principal deletes at once."""

from datetime import timedelta
from math import inf
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import COUNTED, Rule, Trigger, is_own_end, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

REMEMBERED: Final = 1_000
"""The most remembered secrets per principal, the latest."""

USUAL_FOR: Final = 30 * DAY
DAYS: Final = 2
"""Days with half as many that make it usual for a program."""


class _Ended:
    """A principal's ended secrets with their latest times, and the most at once per day."""

    __slots__ = ("last", "most", "secrets")

    def __init__(self) -> None:
        self.last = NEVER
        self.secrets: dict[str, float] = {}
        self.most: dict[int, int] = {}

    def add(self, path: str, at: float, within: float) -> int:
        """Add a secret, and return the number within the time."""
        self.secrets.pop(path, None)
        self.secrets[path], self.last = at, max(at, self.last)
        if len(self.secrets) > REMEMBERED:
            del self.secrets[next(iter(self.secrets))]
        return sum(moment > at - within for moment in self.secrets.values())

    def is_usual(self, count: int, at: float) -> bool:
        """Whether it did so on other days."""
        today = int(at // DAY)
        self.most = {day: most for day, most in self.most.items() if day > today - USUAL_FOR // DAY}
        return sum(2 * most >= count for day, most in self.most.items() if day < today) >= DAYS

    def learn(self, count: int, at: float) -> None:
        """Learn an allowed number."""
        today = int(at // DAY)
        self.most[today] = max(count, self.most.get(today, 0))


class MassDeletion(Rule):
    """``count`` secrets ``within`` a time whose versions one principal deletes or destroys, or tries to.

    Exempt are Keyturn's own logins in the hub, and programs that were allowed to end half as many at once on two other
    days of the last 30.
    """

    name = "mass-deletion"
    tuning = Tuning(1000, 10, timedelta(minutes=10))
    trigger = Trigger.ENDED

    def __init__(self, history: History, peers: Peers) -> None:
        self._ended: dict[tuple[str, str], _Ended] = {}

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        if is_own_end(access, policy):
            return ""
        tuning = tuning_of(self, policy)
        ended = self._of(access)
        count = ended.add(access.path, at, tuning.within.total_seconds())
        usual = not is_person(access.principal) and ended.is_usual(count, at)
        if not access.denied:
            ended.learn(count, at)
        if count < tuning.count or usual:
            return ""
        return f"{count} secrets deleted or destroyed within {tuning.within.total_seconds() / 60:g} min"

    def _of(self, access: Access) -> _Ended:
        who = (access.system, access.principal)
        ended = self._ended.get(who)
        if ended is None:
            ended = self._ended[who] = _Ended()
            if len(self._ended) > COUNTED:
                drop_least(self._ended, COUNTED, lambda other: inf if other is ended else other.last)
        return ended
