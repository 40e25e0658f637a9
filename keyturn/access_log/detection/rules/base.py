"""The port of the rules, and shared helpers."""

from bisect import bisect_right
from enum import Enum, auto
from typing import ClassVar, Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import HUB, Access

COUNTED: Final = 50_000
"""The most principals or addresses per rule. The least recent are forgotten."""


class Trigger(Enum):
    """When a rule applies."""

    ALWAYS = auto()
    DENIED = auto()
    """Denied accesses, including failed logins."""
    NEW_PATH = auto()
    """Reads of secrets that are new in the principal's window."""
    ROOT = auto()
    """Accesses with the hub's root policy."""
    RETURNING = auto()
    """A principal's first access after 24 hours without any, or ever."""
    NOVEL = auto()
    """Accesses with a new secret, address or unusual time (:mod:`.habits`)."""
    ENDED = auto()
    """Deletions, destructions and attempts. Other triggers exclude them."""


class Rule:
    """One rule for all principals, created once per stream of accesses.

    ``name`` is for the catalogue and alerts, ``tuning`` is the default.
    """

    name: ClassVar[str]
    tuning: ClassVar[Tuning]
    trigger: ClassVar[Trigger] = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Create the rule for a history of secrets and the peers. Most rules need neither."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether it can apply to this principal and policy. The answer never changes."""
        return True

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Describe what is odd about an access, or return "". Times are in order.

        ``window`` is the principal's before it.
        """
        raise NotImplementedError


def tuning_of(rule: Rule | type[Rule], policy: MonitorPolicy) -> Tuning:
    """The rule's tuning in a policy."""
    return policy.tunings.get(rule.name, rule.tuning)


def is_own_end(access: Access, policy: MonitorPolicy) -> bool:
    """Whether Keyturn itself ends a version, by its unique names in the hub."""
    return policy.own and access.system == HUB


class Recently:
    """Counts recent events by name, at most twice ``count`` of each."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def full(self, name: str, at: float, tuning: Tuning) -> bool:
        """Whether ``count`` events are within the time. They may be unordered."""
        count = tuning.count
        times = self._times.get(name)
        if times is None:
            times = self._times[name] = []
            if len(self._times) > COUNTED:
                drop_least(self._times, COUNTED, lambda recent: recent[-1] if recent else at)
        place = bisect_right(times, at)
        times.insert(place, at)
        within = tuning.within.total_seconds()
        firsts = range(max(0, place - count + 1), min(place, len(times) - count) + 1)
        full = any(times[first + count - 1] < times[first] + within for first in firsts)
        del times[: -2 * count]
        return full
