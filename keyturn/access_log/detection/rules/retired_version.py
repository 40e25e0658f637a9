"""An old version that is read after its credential has ended."""

from datetime import UTC, datetime
from typing import ClassVar, Final

from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import NO_HISTORY, History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

LAG: Final = DAY
LONG: Final = 7 * DAY
"""Seconds in which a consumer may lag, in general, and by one version at its usual place."""


class RetiredVersion:
    """An access to a version older than CURRENT that was retired or revoked.

    A known reader may lag by a day, or at its usual place by one version for a week.
    """

    name: ClassVar = "retired-version"
    tuning: ClassVar = Tuning(800)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        self._history = history

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether there is a history."""
        return self._history is not NO_HISTORY

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether the version had ended."""
        version = access.version
        ended = None if version is None else self._history.retired_at(access.path, version, at)
        if not ended or version is None or self._is_behind(access, version, at - ended, at, window):
            return ""
        return f"version {version}, which ended at {datetime.fromtimestamp(ended, UTC):%Y-%m-%d %H:%M} UTC"

    def _is_behind(self, access: Access, version: int, ago: float, at: float, window: PrincipalWindow) -> bool:
        if ago < LAG:
            return window.was_given(access.path)
        last = self._history.retired_at(access.path, version + 1, at) is None
        return ago < LONG and last and window.has_read(access.path, access.source)
