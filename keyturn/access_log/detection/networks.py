"""Networks as far as habits go: what is near each other on the net is one."""

from functools import lru_cache
from ipaddress import IPv4Address, ip_network
from typing import Final

from keyturn.core.hosts import to_address

REMEMBERED: Final = 50_000

WIDTHS: Final = {4: 16, 6: 32}
"""Bits of a network: about what a provider, a site or a cluster has."""


@lru_cache(REMEMBERED)
def network_of(source: str) -> str:
    """The network of an address as a log tells it; what is no address is a network of its own."""
    text = source.partition(",")[0].strip()
    address = to_address(text)
    if address is None:
        return text
    mapped: IPv4Address | None = getattr(address, "ipv4_mapped", None)
    return str(ip_network((mapped or address, WIDTHS[4 if mapped else address.version]), strict=False))
