"""A read straight after a revocation, by somebody who is new to the secret: whoever had the old value wants the new."""

from datetime import timedelta
from typing import ClassVar

from keyturn.access_log.detection.history import NO_HISTORY, History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class AfterRevocation:
    """An access ``within`` a time after the secret was revoked, got or not, by who has not read it from there before.

    Consumers read the replacement in that time, from where they always do: they are let be.
    """

    name: ClassVar = "after-revocation"
    tuning: ClassVar = Tuning(1000, 0, timedelta(hours=1))
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        self._history = history

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Every secret, where anything is known of any."""
        return self._history is not NO_HISTORY

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it came so soon, and from whom it was not expected."""
        revoked = self._history.revoked_at(access.path, at)
        if revoked is None or at > revoked + tuning_of(self, policy).within.total_seconds():
            return ""
        if window.has_read(access.path, access.source):
            return ""
        return f"{(at - revoked) / 60:.0f} min after it was revoked, and not from who and where it is read otherwise"
