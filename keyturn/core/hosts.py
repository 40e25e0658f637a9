"""Host names and addresses: patterns, and hosts that are always refused.

Nothing is resolved here: the connecting code checks what a name resolves to.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
"""Cloud names of the service that issues a machine's own credentials."""

METADATA_ADDRESSES: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254")))
"""Its addresses outside 169.254.0.0/16: Alibaba's, Azure's wire server, Amazon's in IPv6."""

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
COMPATIBLE: Final = ipaddress.IPv6Network("::/96")

_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_NUMBERS: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}")
"""Other address formats that the C library's inet_aton accepts."""
_PORT: Final = re.compile(r":([0-9]{1,5})\Z")


def refuses_host(host: str) -> str | None:
    """Return why this host is always refused; None if it is allowed."""
    if (address := to_address(host)) is None:
        return _refuses_name(host.casefold().rstrip("."))
    if any(inner.is_link_local or inner in METADATA_ADDRESSES for inner in _meanings(address)):
        return "it is a link-local address, or one where a cloud gives out this machine's credentials"
    if address.is_unspecified or address.is_multicast:
        return "it is the address of no single host"
    return None


def _refuses_name(name: str) -> str | None:
    if name in METADATA_NAMES:
        return "it is where a cloud gives out this machine's credentials"
    if not _NAME.fullmatch(name):
        return "it is no host's name in letters, digits, dots and hyphens"
    if _NUMBERS.fullmatch(name):
        return "it is an address that is written oddly: write it as four numbers with dots"
    return None


def to_address(host: str) -> Address | None:
    """The address that a host is, with or without brackets; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _meanings(address: Address) -> list[Address]:
    """The address and those embedded in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64 or address in COMPATIBLE:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(part for part in inner if part)]


@dataclass(frozen=True)
class HostPattern:
    """Hosts: one name, all names below a domain (``*.example.com``), or addresses (``10.1.0.0/16``).

    ``port`` is 0 for every port.
    """

    name: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int = 0

    @staticmethod
    def parse(text: str) -> "HostPattern":
        """Parse a pattern. Raises ValueError."""
        rest, port = _without_port(text.casefold())
        try:
            return HostPattern(rest, ipaddress.ip_network(rest.strip("[]")), port)
        except ValueError:
            pass
        name = rest.rstrip(".")
        if not (name == "*" or _NAME.fullmatch(name.removeprefix("*."))):
            raise ValueError(text)
        return HostPattern(name, None, port)

    def covers(self, host: str, port: int) -> bool:
        """Whether the pattern matches this host."""
        if self.port not in (0, port):
            return False
        if self.network is not None:
            address = to_address(host)
            return address is not None and address in self.network
        name = host.casefold().rstrip(".")
        return self.name in ("*", name) or (self.name.startswith("*.") and name.endswith(self.name[1:]))


def _without_port(text: str) -> tuple[str, int]:
    """Split off the port, or 0. An IPv6 address with a port needs brackets."""
    port = _PORT.search(text)
    if not port or (text.count(":") > 1 and not text.startswith("[")):
        return text, 0
    if not 0 < int(port[1]) <= 65_535:
        raise ValueError(text)
    return text[: port.start()], int(port[1])
