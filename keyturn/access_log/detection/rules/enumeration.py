"""Many secrets that are new to a principal in a short time."""

from datetime import timedelta
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Recently, Rule, Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

REFUSED: Final = 100_000
"""The most remembered refused attempts. The oldest are forgotten."""


class Enumeration(Rule):
    """``count`` distinct secrets ``within`` a time that the principal has not read in its window, or was refused.

    Programs seen on five earlier days may repeat any read, as monthly jobs do.
    """

    name = "enumeration"
    tuning = Tuning(800, 30, timedelta(minutes=10))
    trigger = Trigger.NEW_PATH

    def __init__(self, history: History, peers: Peers) -> None:
        self._new = Recently()
        self._refused: dict[tuple[str, str, str], float] = {}

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        tuning = tuning_of(self, policy)
        if window.learned and window.was_given(access.path) and not is_person(access.principal):
            return ""
        if access.denied and self._tried(access, at, tuning):
            return ""
        if not self._new.full(f"{access.system} {access.principal}", at, tuning):
            return ""
        minutes = tuning.within.total_seconds() / 60
        return f"{tuning.count} secrets within {minutes:g} min that it had not been given in its last 24 hours"

    def _tried(self, access: Access, at: float, tuning: Tuning) -> bool:
        """Whether the same was refused recently."""
        attempt = (access.system, access.principal, access.path)
        before = self._refused.get(attempt, NEVER)
        self._refused[attempt] = at
        if len(self._refused) > REFUSED:
            drop_least(self._refused, REFUSED, lambda moment: moment)
        return before > at - tuning.within.total_seconds()
