"""Many new secrets from several systems at once, as with stolen logins."""

from datetime import timedelta
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.identities import plain_name
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import COUNTED, Rule, Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

REMEMBERED: Final = 1_000
"""The most remembered secrets per principal, the latest."""


class SeveralSystems(Rule):
    """``count`` new or refused secrets ``within`` a time, in two or more systems together.

    A principal is the same by a monitor's ``identity``, or its :func:`.plain_name`.
    """

    name = "several-systems"
    tuning = Tuning(800, 10, timedelta(minutes=30))
    trigger = Trigger.NEW_PATH

    def __init__(self, history: History, peers: Peers) -> None:
        self._taken: dict[str, dict[tuple[str, str], float]] = {}

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        tuning = tuning_of(self, policy)
        taken = self._of(policy.identity or plain_name(access.principal), at)
        taken.pop((access.system, access.path), None)
        taken[access.system, access.path] = at
        if len(taken) > min(tuning.count * 2, REMEMBERED):
            del taken[next(iter(taken))]
        if len(taken) < tuning.count:
            return ""
        since = at - tuning.within.total_seconds()
        recent = [system for (system, _), moment in taken.items() if moment > since]
        systems = sorted(set(recent))
        if len(recent) < tuning.count or len(systems) == 1:
            return ""
        minutes = tuning.within.total_seconds() / 60
        return f"{len(recent)} secrets that are new to it within {minutes:g} min, from {', '.join(systems)}"

    def _of(self, name: str, at: float) -> dict[tuple[str, str], float]:
        if name not in self._taken:
            self._taken[name] = {}
            if len(self._taken) > COUNTED:
                drop_least(self._taken, COUNTED, lambda taken: next(reversed(taken.values()), at))
        return self._taken[name]
