"""A principal that returns after a long time."""

from datetime import timedelta
from typing import ClassVar

from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class Dormant:
    """The first access after more than ``within`` a time without any, except a principal's very first."""

    name: ClassVar = "dormant"
    tuning: ClassVar = Tuning(500, 0, timedelta(days=30))
    trigger: ClassVar = Trigger.RETURNING

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Always true."""
        return True

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """How long it was away."""
        away = at - window.last
        if window.last == NEVER or away <= tuning_of(self, policy).within.total_seconds():
            return ""
        return f"it comes back after {away / DAY:.0f} days"
