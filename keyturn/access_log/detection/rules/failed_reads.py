"""Many failed attempts, such as guessing secrets."""

from datetime import timedelta

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Recently, Rule, Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import LOGIN, Access


class FailedReads(Rule):
    """``count`` failed accesses of one principal, or logins from one address, ``within`` a time.

    A refused secret that a principal of five earlier days had read is a fault, not a guess.
    """

    name = "failed-reads"
    tuning = Tuning(800, 10, timedelta(minutes=5))
    trigger = Trigger.DENIED

    def __init__(self, history: History, peers: Peers) -> None:
        self._failed = Recently()

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        tuning = tuning_of(self, policy)
        login = access.action == LOGIN
        if window.learned and window.was_given(access.path):
            return ""
        who = f"@{access.source}" if login else f"{access.system} {access.principal}"
        if not self._failed.full(who, at, tuning):
            return ""
        minutes = tuning.within.total_seconds() / 60
        return f"{tuning.count} {'logins' if login else 'accesses'} failed within {minutes:g} min"
