"""Sites of addresses, by networks, and their distances."""

from dataclasses import dataclass
from functools import lru_cache
from math import asin, cos, radians, sin, sqrt
from typing import Final

from keyturn.access_log.detection.policy import Network, Site
from keyturn.core.hosts import to_address

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
