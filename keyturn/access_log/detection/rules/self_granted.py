"""A secret that a principal can read by a policy of its own making."""

from datetime import timedelta
from typing import ClassVar

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class SelfGranted:
    """A new secret, allowed by a policy that the principal itself changed ``within`` a time.

    The same holds for a policy that it has only had since it changed a role, user or group.
    """

    name: ClassVar = "self-granted"
    tuning: ClassVar = Tuning(800, 0, timedelta(days=7))
    trigger: ClassVar = Trigger.NEW_PATH

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Always true."""
        return True

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it is."""
        if not access.granted or access.denied or window.was_given(access.path):
            return ""
        logins, within = window.logins, tuning_of(self, policy).within
        since = at - within.total_seconds()
        if logins.changes.by_itself(access, since, at):
            return f"allowed by {access.granted}, which it changed itself in the {within.days} days before"
        if logins.changes.of_logins(access, since) and logins.is_new_policy(access, at):
            return f"allowed by {access.granted}, which is new to it, after it changed who has which policies"
        return ""
