"""An access on a Saturday or Sunday."""

from typing import ClassVar
from zoneinfo import ZoneInfo

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.profile import SATURDAY
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class Weekend:
    """An access on a weekend in the policy's zone, where none is expected."""

    name: ClassVar = "weekend"
    tuning: ClassVar = Tuning(200)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether no accesses are expected on weekends."""
        return not policy.weekends

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Which day it is."""
        local = access.at.astimezone(ZoneInfo(policy.zone))
        return f"on a {local:%A} in {policy.zone}" if local.weekday() >= SATURDAY else ""
