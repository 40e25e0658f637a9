"""A secret for certain readers, read by another principal."""

from fnmatch import fnmatchcase
from typing import ClassVar

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class OtherReader:
    """An access or attempt by a principal that matches none of the policy's ``readers``."""

    name: ClassVar = "other-reader"
    tuning: ClassVar = Tuning(800)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether it matches no reader."""
        return bool(policy.readers) and not any(fnmatchcase(principal, pattern) for pattern in policy.readers)

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Always odd."""
        return f"it is none of those who read this: {', '.join(policy.readers)}"
