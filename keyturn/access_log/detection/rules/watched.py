"""Secrets near a revoked one, which a thief may know too."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from keyturn.access_log.detection.history import NO_HISTORY, History, IncidentHistory
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class Watched:
    """An access to a secret ``within`` a time after it was put on the watch list.

    Exempt are earlier readers from a network they already used.
    """

    name: ClassVar = "watched"
    tuning: ClassVar = Tuning(300, 0, timedelta(days=14))
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        self._incidents = history if isinstance(history, IncidentHistory) else NO_HISTORY

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether there are revocations."""
        return self._incidents is not NO_HISTORY

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it is watched, and its reader or network is new."""
        watch = self._incidents.watched(access.path, at)
        if watch is None or at > watch.since + tuning_of(self, policy).within.total_seconds():
            return ""
        if window.knows(access.path, access.source, watch.since):
            return ""
        since = datetime.fromtimestamp(watch.since, UTC)
        return f"watched since {since:%Y-%m-%d}: who read {watch.revoked}, which was revoked then, read this, too"
