"""New behaviour of a principal on its return after a long absence."""

from datetime import timedelta
from typing import ClassVar

from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class Awakened:
    """A secret that it never read, or many more accesses than ever, on the day after ``within`` a time of absence.

    ``dormant`` judges the first access.
    """

    name: ClassVar = "awakened"
    tuning: ClassVar = Tuning(800, 0, timedelta(days=30))
    trigger: ClassVar = Trigger.NOVEL

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Always true."""
        return True

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it is, and what."""
        if window.away < tuning_of(self, policy).within.total_seconds() or window.last <= at - DAY:
            return ""
        days = f"it was away for {window.away / DAY:.0f} days, and now"
        if not window.was_given(access.path):
            return f"{days} reads what it was never given"
        return f"{days} reads more than {window.brisk:,.0f} times an hour" if window.count > window.brisk else ""
