"""An access from outside the networks that a principal or a secret is bound to."""

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
    """The address that asked is in none of the policy's ``addresses``; one that is no address is outside, too.

    For whom it says to have asked is not looked at: anybody may claim that. Where the log tells no address, nothing is
    said.
    """

    name: ClassVar = "address-range"
    tuning: ClassVar = Tuning(800)
    trigger: ClassVar = Trigger.ALWAYS

    def __init__(self, history: History, peers: Peers) -> None:
        """Nothing is remembered."""

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Where networks are named."""
        return bool(policy.addresses)

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it came from elsewhere."""
        if not access.source or _within(access.source, policy.addresses):
            return ""
        return f"from {access.source}, outside {', '.join(map(str, policy.addresses))}"


@lru_cache(REMEMBERED)
def _within(source: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address, as a log tells it, is in one of these; an IPv4 one that is written as IPv6 is IPv4."""
    address = to_address(source.partition(",")[0].strip())
    if address is None:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address.version == network.version and address in network for network in networks)
