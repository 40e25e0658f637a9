"""The first read of a restricted secret by a principal."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from typing import ClassVar, Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.access import Access

READERS: Final = 200_000
"""How many readers of secrets are remembered; beyond, those that read longest ago are forgotten."""

SECRETS: Final = 10_000
"""Restricted secrets whose readers are compared."""

MANY: Final = 1_000
"""Readers of one secret that are compared at most; beyond, all are forgotten."""

COLLEAGUES: Final = 2
"""So many readers of a secret that otherwise read the same as somebody make it theirs, too."""
SHARED: Final = 3
"""Secrets that they have in common at least, and half of those that somebody was given before the last day."""


class FirstRestricted:
    """A principal is given a restricted secret that it was not given ``within`` a time.

    In the 24 hours after the first read of any such secret it learns, and says nothing: all reads look like the first.
    Nor does it where the secret is read by others who share most of what the principal reads: it is its team's.
    """

    name: ClassVar = "first-restricted"
    tuning: ClassVar = Tuning(800, 0, timedelta(days=30))
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History) -> None:
        self._began = NEVER
        self._readers: dict[tuple[str, str, str], float] = {}
        self._windows: dict[tuple[str, str], dict[str, PrincipalWindow]] = {}

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whoever comes upon restricted secrets."""
        return policy.restricted

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it is the first time."""
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
        if before > at - tuning.within.total_seconds():
            return ""
        readers = self._windows.setdefault((access.system, access.path), {})
        first = at >= self._began + DAY and not _is_of_team(window, readers.values(), at)
        readers[access.principal] = window
        if len(readers) > MANY:
            readers.clear()
        if len(self._windows) > SECRETS:
            del self._windows[next(iter(self._windows))]
        return f"it was not given this restricted secret in the {tuning.within.days} days before" if first else ""


def _is_of_team(window: PrincipalWindow, readers: Iterable[PrincipalWindow], at: float) -> bool:
    """Whether several of these readers were given most of what the principal was given before the last day."""
    own = {path for path, seen_path in window.paths.items() if NEVER < seen_path.begun <= at - DAY}
    needed = max(SHARED, (len(own) + 1) // 2)
    alike = (reader for reader in readers if len(own & reader.paths.keys()) >= needed)
    return len(own) >= SHARED and len(list(islice(alike, COLLEAGUES))) == COLLEAGUES
