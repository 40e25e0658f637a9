"""A secret that nobody uses: whoever asks for it looks around."""

from typing import ClassVar

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class Decoy:
    """Any access to a decoy, whether it gave the value or not, by whomever and from wherever."""

    name: ClassVar = "decoy"
    tuning: ClassVar = Tuning(1000)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Nothing is remembered."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Decoys."""
        return policy.decoy

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Always, where it concerns anything."""
        return "it is a decoy, which nobody has a reason to ask for"
