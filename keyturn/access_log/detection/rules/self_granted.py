"""A secret that somebody is given by a policy of their own making."""

from datetime import timedelta
from typing import ClassVar

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access


class SelfGranted:
    """A secret that is new to a principal, allowed by a policy that it has changed itself ``within`` a time before.

    So is a policy that it has only had since then, where it changed a role, a user or a group.
    """

    name: ClassVar = "self-granted"
    tuning: ClassVar = Tuning(800, 0, timedelta(days=7))
    trigger: ClassVar = Trigger.NEW_PATH

    def __init__(self, history: History, peers: Peers) -> None:
        """Nothing is remembered."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Everybody."""
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
