"""An access from outside the networks of a principal or secret."""

from functools import lru_cache
from typing import ClassVar, Final

from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Network, Tuning
from keyturn.access_log.detection.rules.base import Trigger
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.hosts import to_address
from keyturn.core.ports.access import Access

REMEMBERED: Final = 10_000


class AddressRange:
    """The caller's address is in none of the policy's ``addresses``, or invalid.

    Forwarded and missing addresses are ignored.
    """

    name: ClassVar = "address-range"
    tuning: ClassVar = Tuning(800)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Stateless."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Whether the policy has networks."""
        return bool(policy.addresses)

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it came from outside."""
        if not access.source or _within(access.source, policy.addresses):
            return ""
        return f"from {access.source}, outside {', '.join(map(str, policy.addresses))}"


@lru_cache(REMEMBERED)
def _within(source: str, networks: tuple[Network, ...]) -> bool:
    """Whether a logged address, perhaps IPv4-mapped, is in one of these."""
    address = to_address(source.partition(",")[0].strip())
    if address is None:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address.version == network.version and address in network for network in networks)
