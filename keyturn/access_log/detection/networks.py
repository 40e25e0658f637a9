"""Networks for habits: addresses near each other are one network."""

from functools import lru_cache
from ipaddress import IPv4Address, ip_network
from typing import Final

from keyturn.core.hosts import to_address

REMEMBERED: Final = 50_000

WIDTHS: Final = {4: 16, 6: 32}
"""Prefix lengths that match a provider, site or cluster."""


@lru_cache(REMEMBERED)
def network_of(source: str) -> str:
    """The network of a logged address. Any other text is its own network."""
    text = source.partition(",")[0].strip()
    address = to_address(text)
    if address is None:
        return text
    mapped: IPv4Address | None = getattr(address, "ipv4_mapped", None)
    return str(ip_network((mapped or address, WIDTHS[4 if mapped else address.version]), strict=False))
