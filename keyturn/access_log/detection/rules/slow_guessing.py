"""Slow guessing of names, passwords or secrets."""

from datetime import timedelta
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import COUNTED, Rule, Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import LOGIN, Access

APART: Final = 60.0
"""Seconds between attempts that count. Other rules report faster ones."""

SPARE: Final = 2
"""The multiple of ``count`` attempts that are remembered."""


class SlowGuessing(Rule):
    """``count`` different failures ``within`` a time, of one kind.

    They are refused and never read secrets of a principal, names from one address, addresses of one name, or networks
    without any reads. The last kind is reported once, then counting restarts. Unlike a guesser, a misconfigured program
    fails at the same thing.
    """

    name = "slow-guessing"
    tuning = Tuning(800, 15, timedelta(hours=24))
    trigger = Trigger.DENIED

    def __init__(self, history: History, peers: Peers) -> None:
        self._failed: dict[tuple[str, str], dict[str, float]] = {}
        self._peers = peers

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        tuning = tuning_of(self, policy)
        hours = tuning.within.total_seconds() / 3600
        if access.action == LOGIN:
            if self._full(("names", access.source), access.path, at, tuning):
                return f"{tuning.count} names failed to log in from there within {hours:g} h"
            # Without a name in the login path, all programs would share one path.
            named = not access.path.endswith("/login")
            if named and self._full(("addresses", access.path), access.source, at, tuning):
                return f"it failed to log in from {tuning.count} addresses within {hours:g} h"
            strange = bool(access.source) and self._peers.is_strange_network(access, at)
            networks = ("networks", access.system)
            if strange and self._full(networks, network_of(access.source), at, tuning):
                del self._failed[networks]
                return (
                    f"logins failed from {tuning.count} networks within {hours:g} "
                    "h that no successful read ever came from"
                )
            return ""
        if window.was_given(access.path):
            return ""
        if self._full((access.system, access.principal), access.path, at, tuning):
            return f"{tuning.count} secrets within {hours:g} h that it was refused, and never given"
        return ""

    def _full(self, key: tuple[str, str], what: str, at: float, tuning: Tuning) -> bool:
        failed = self._failed.get(key)
        if failed is None:
            failed = self._failed[key] = {}
            if len(self._failed) > COUNTED:
                drop_least(self._failed, COUNTED, lambda times: next(reversed(times.values()), at))
        if failed and at < next(reversed(failed.values())) + APART:
            return False
        failed.pop(what, None)
        failed[what] = at
        if len(failed) > tuning.count * SPARE:
            del failed[next(iter(failed))]
        since = at - tuning.within.total_seconds()
        return len(failed) >= tuning.count and sum(moment > since for moment in failed.values()) >= tuning.count
