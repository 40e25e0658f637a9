"""One principal at two sites faster than travel allows, as when its login is stolen."""

from datetime import timedelta
from typing import ClassVar, Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Site, Tuning
from keyturn.access_log.detection.rules.base import COUNTED, Trigger, tuning_of
from keyturn.access_log.detection.sites import distance, site_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

NEAR: Final = 100.0
"""Kilometres within which two sites count as one."""

SITES: Final = 20
"""The most remembered sites per principal, the latest."""

HOUR: Final = 3600.0


class ImpossibleTravel:
    """An access from a new site, which ``count`` km per hour can't reach from the last one.

    A site is new without a read there ``within`` a time. Unknown addresses, and those outside the policy's sites, are
    ignored.
    """

    name: ClassVar = "impossible-travel"
    tuning: ClassVar = Tuning(800, 1000, timedelta(days=30))
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        self._been: dict[tuple[str, str], dict[Site, float]] = {}

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether the policy has sites."""
        return len(policy.sites) > 1

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it can't have travelled there."""
        site = site_of(access.source, policy.sites) if access.source else None
        if site is None:
            return ""
        who = ("", policy.identity) if policy.identity else (access.system, access.principal)
        been = self._been.get(who) or {}
        tuning = tuning_of(self, policy)
        before = been.get(site)
        recent = before is not None and before > at - tuning.within.total_seconds()
        words = "" if recent else next(filter(None, (_words(site, other, at, been, tuning) for other in been)), "")
        if not access.denied:
            self._remember(who, been, site, max(at, before or at))
        return words

    def _remember(self, who: tuple[str, str], been: dict[Site, float], site: Site, at: float) -> None:
        been[site] = at
        if len(been) > SITES:
            drop_least(been, SITES, lambda moment: moment)
        self._been[who] = been
        if len(self._been) > COUNTED:
            drop_least(self._been, COUNTED, lambda of_other: max(of_other.values()))


def _words(site: Site, other: Site, at: float, been: dict[Site, float], tuning: Tuning) -> str:
    kilometres, hours = distance(site, other), abs(at - been[other]) / HOUR
    if kilometres <= NEAR or kilometres <= hours * tuning.count:
        return ""
    return f"in {site.name}, {kilometres:,.0f} km from {other.name}, where it was {hours * 60:,.0f} min before"
