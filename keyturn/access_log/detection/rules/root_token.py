"""A read with the root policy, which no work requires."""

from typing import ClassVar

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class RootToken:
    """The login has the hub's root policy."""

    name: ClassVar = "root-token"
    tuning: ClassVar = Tuning(800)
    trigger: ClassVar = Trigger.ROOT

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Always true."""
        return True

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Always odd."""
        return "with the root policy"
