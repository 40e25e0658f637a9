"""A read soon after a revocation by a new reader, as by a thief."""

from datetime import timedelta
from typing import ClassVar

from keyturn.access_log.detection.history import NO_HISTORY, History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class AfterRevocation:
    """An access or attempt ``within`` a time after the revocation, by a principal that has not read it from there.

    Consumers at their usual place are exempt.
    """

    name: ClassVar = "after-revocation"
    tuning: ClassVar = Tuning(1000, 0, timedelta(hours=1))
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        self._history = history

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether there is a history."""
        return self._history is not NO_HISTORY

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it is so soon and unexpected."""
        revoked = self._history.revoked_at(access.path, at)
        if revoked is None or at > revoked + tuning_of(self, policy).within.total_seconds():
            return ""
        if window.has_read(access.path, access.source):
            return ""
        return f"{(at - revoked) / 60:.0f} min after it was revoked, and not from who and where it is read otherwise"
