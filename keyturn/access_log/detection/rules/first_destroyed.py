"""A restricted secret, irreversibly destroyed by a principal that never did that."""

from datetime import timedelta

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import COUNTED, Rule, Trigger, is_own_end, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import DESTROY, Access


class FirstDestroyed(Rule):
    """A principal destroys a restricted secret or tries to, and destroyed none ``within`` a time.

    Exempt are Keyturn's own logins in the hub, and policies that another principal recently changed or granted.
    """

    name = "first-destroyed"
    tuning = Tuning(800, 0, timedelta(days=30))
    trigger = Trigger.ENDED

    def __init__(self, history: History, peers: Peers) -> None:
        self._destroyed: dict[tuple[str, str], float] = {}

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return policy.restricted

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        if access.action != DESTROY or is_own_end(access, policy):
            return ""
        tuning = tuning_of(self, policy)
        who = (access.system, access.principal)
        before = self._destroyed.get(who, NEVER)
        if not access.denied:
            self._destroyed[who] = max(at, before)
            if len(self._destroyed) > COUNTED:
                drop_least(self._destroyed, COUNTED, lambda moment: moment)
        if before > at - tuning.within.total_seconds() or window.logins.is_expected(access, at):
            return ""
        return f"it destroyed nothing restricted in the {tuning.within.days} days before, and that can't be taken back"
