"""A secret that is never used."""

from typing import ClassVar

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class Decoy:
    """Any access to a decoy, successful or not."""

    name: ClassVar = "decoy"
    tuning: ClassVar = Tuning(1000)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether it is a decoy."""
        return policy.decoy

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Always odd."""
        return "it is a decoy, which nobody has a reason to ask for"
