"""One principal at two sites faster than travel allows, as when its login is stolen."""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from math import asin, cos, radians, sin, sqrt
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Network, Site, Tuning
from keyturn.access_log.detection.rules.base import COUNTED, Rule, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.hosts import to_address
from keyturn.core.ports.access import Access

REMEMBERED: Final = 10_000

RADIUS: Final = 6371.0
"""The earth's mean radius in km (IUGG)."""


@lru_cache(REMEMBERED)
def site_of(source: str, sites: tuple[Site, ...]) -> Site | None:
    """The site of a logged address by its narrowest network, or None."""
    address = to_address(source.partition(",")[0].strip())
    if address is None:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    within = [_Match(network.prefixlen, site) for site in sites for network in site.networks if _has(network, address)]
    return max(within, key=lambda match: match.length).site if within else None


@dataclass(frozen=True)
class _Match:
    length: int
    site: Site


def _has(network: Network, address: object) -> bool:
    return getattr(address, "version", 0) == network.version and address in network


def distance(site: Site, other: Site) -> float:
    """The great-circle distance in km (haversine formula)."""
    latitude, other_latitude = radians(site.latitude), radians(other.latitude)
    across, along = (other_latitude - latitude) / 2, radians(other.longitude - site.longitude) / 2
    chord = sin(across) ** 2 + cos(latitude) * cos(other_latitude) * sin(along) ** 2
    return 2 * RADIUS * asin(min(1.0, sqrt(chord)))


NEAR: Final = 100.0
"""Kilometres within which two sites count as one."""

SITES: Final = 20
"""The most remembered sites per principal, the latest."""

HOUR: Final = 3600.0


class ImpossibleTravel(Rule):
    """An access from a new site, which ``count`` km per hour can't reach from the last one.

    A site is new without a read there ``within`` a time. Unknown addresses, and those outside the policy's sites, are
    ignored.
    """

    name = "impossible-travel"
    tuning = Tuning(800, 1000, timedelta(days=30))

    def __init__(self, history: History, peers: Peers) -> None:
        self._been: dict[tuple[str, str], dict[Site, float]] = {}

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return len(policy.sites) > 1

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
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
