"""The first read of a restricted secret by a principal."""

from datetime import timedelta
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import FolderReaders, Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Rule, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

READERS: Final = 200_000
"""The most remembered readers. The oldest are forgotten."""


class FirstRestricted(Rule):
    """A principal reads a restricted secret that it has not read ``within`` a time.

    It only learns for 24 hours after the first such read. Once a day it accepts the team's secret: one next to earlier
    reads, or whose readers share most folders. Steady principals have no team. It accepts a policy that another
    principal recently changed or granted.
    """

    name = "first-restricted"
    tuning = Tuning(800, 0, timedelta(days=30))

    def __init__(self, history: History, peers: Peers) -> None:
        self._began = NEVER
        self._readers: dict[tuple[str, str, str], float] = {}
        self._folders = FolderReaders()
        self._excused: dict[tuple[str, str], float] = {}

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return policy.restricted

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        if access.denied:
            return ""
        reader = (access.system, access.principal, access.path)
        before = self._readers.get(reader, NEVER)
        self._readers[reader] = max(at, before)
        if len(self._readers) > READERS:
            drop_least(self._readers, READERS, lambda moment: moment)
        if self._began == NEVER:
            self._began = at
        tuning = tuning_of(self, policy)
        if before > (since := at - tuning.within.total_seconds()):
            return ""
        theirs = self._is_theirs(access, at, window, since)
        self._folders.add(access, window)
        if theirs or at < self._began + DAY or window.logins.is_expected(access, at):
            return ""
        return f"it was not given this restricted secret in the {tuning.within.days} days before"

    def _is_theirs(self, access: Access, at: float, window: PrincipalWindow, since: float) -> bool:
        """Whether it is the team's secret, accepted once a day."""
        if window.read_at <= since or window.is_steady(access.principal, at):
            return False
        if not window.is_near(access.path, at) and not self._folders.are_colleagues(access, at, window):
            return False
        reader = (access.system, access.principal)
        excused = self._excused.get(reader, NEVER) <= at - DAY
        if excused:
            self._excused[reader] = at
            if len(self._excused) > READERS:
                drop_least(self._excused, READERS, lambda moment: moment)
        return excused
