"""The port of the rules, and what several of them need."""

from bisect import bisect_right
from enum import Enum, auto
from typing import ClassVar, Final, Protocol

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import HUB, Access

COUNTED: Final = 50_000
"""How many principals or addresses a rule counts for; beyond, those that were seen longest ago are forgotten."""


class Trigger(Enum):
    """Which accesses a rule looks at; each of these is told without asking it."""

    ALWAYS = auto()
    DENIED = auto()
    """Those that got nothing, failed logins among them."""
    NEW_PATH = auto()
    """Reads of what the principal has not been given in its window, be it that it has none."""
    ROOT = auto()
    """Those of a login with the hub's root policy."""
    RETURNING = auto()
    """The first of a principal after 24 hours without any, the very first too."""
    NOVEL = auto()
    """Those of a secret or from an address that is new to the principal, at a strange hour or pace (:mod:`.habits`)."""
    ENDED = auto()
    """Those that delete or destroy versions, or try to, which no other trigger tells of."""


class Rule(Protocol):
    """One rule, for all principals. It is made once for a stream of accesses, and remembers what it needs of it.

    ``name`` is what it is called in the catalogue and in alerts, ``tuning`` how it is set by default.
    """

    name: ClassVar[str]
    tuning: ClassVar[Tuning]
    trigger: ClassVar[Trigger]

    def __init__(self, history: History, peers: Peers) -> None:
        """Make it; ``history`` tells what has become of secrets, ``peers`` what several principals do."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether it can say anything of this principal under this policy; what it answers once holds for good."""

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """What is odd about an access, in words; empty where nothing is. Times come in order.

        ``window`` is the principal's before this access.
        """


def tuning_of(rule: Rule | type[Rule], policy: MonitorPolicy) -> Tuning:
    """How a rule is set here."""
    return policy.tunings.get(rule.name, rule.tuning)


def is_own_end(access: Access, policy: MonitorPolicy) -> bool:
    """Whether it is Keyturn that ends a version, as in a revocation: nobody else can be called so in the hub."""
    return policy.own and access.system == HUB


class Recently:
    """Counts what came lately, for each of many names. No more than twice ``count`` are remembered of one."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def full(self, name: str, at: float, tuning: Tuning) -> bool:
        """Whether ``count``, with this, came within the time; it may be older than what came before it."""
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
