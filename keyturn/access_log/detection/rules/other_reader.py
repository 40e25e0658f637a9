"""A secret that is for some, read by somebody else."""

from fnmatch import fnmatchcase
from typing import ClassVar

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class OtherReader:
    """A principal that is none of the policy's ``readers``, whether it was given the value or not."""

    name: ClassVar = "other-reader"
    tuning: ClassVar = Tuning(800)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Nothing is remembered."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whoever is not among those who are named."""
        return bool(policy.readers) and not any(fnmatchcase(principal, pattern) for pattern in policy.readers)

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Always, where it concerns anybody."""
        return f"it is none of those who read this: {', '.join(policy.readers)}"
