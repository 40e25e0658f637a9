"""What is usual for a principal at a secret, and how much weighs what is not. Weights and scores are thousandths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

Network = IPv4Network | IPv6Network


class React(StrEnum):
    """What becomes of a secret that was read in a way that a rule finds odd."""

    OFF = "off"
    DRY_RUN = "dry-run"
    """It is told what a revocation would do."""
    REVOKE = "revoke"

    @property
    def rank(self) -> int:
        """More of it does more."""
        return list(React).index(self)


@dataclass(frozen=True)
class Tuning:
    """How a rule is set: its weight, 0 where it is off; ``count`` and ``within`` mean what the rule says they do."""

    weight: int
    count: int = 0
    within: timedelta = timedelta(0)
    react: React = React.OFF


@dataclass(frozen=True)
class Site:
    """Somewhere on earth, in degrees (north and east are positive), and the networks that are there."""

    name: str
    networks: tuple[Network, ...]
    latitude: float
    longitude: float


@dataclass(frozen=True)
class MonitorPolicy:
    """How accesses of some principals to some secrets are judged.

    ``limit`` accesses a day are usual, between ``begin`` and ``end`` (minutes of the day in ``zone``, the end outside;
    where it comes before the beginning, over midnight). ``addresses`` and ``readers`` (patterns of principals) are
    empty where any will do. ``decoy`` says that nobody has a reason to ask for these secrets, ``sites`` where networks
    are, ``identity`` under which name the principal is the same in every system, empty where nobody says. ``own``
    says that the principal is Keyturn's in the hub. ``tunings`` are those of the rules, by name, where they differ from
    the rule's own.
    """

    limit: int = 1000
    begin: int = 6 * 60
    end: int = 22 * 60
    zone: str = "UTC"
    weekends: bool = True
    addresses: tuple[Network, ...] = ()
    readers: tuple[str, ...] = ()
    restricted: bool = False
    decoy: bool = False
    sites: tuple[Site, ...] = ()
    identity: str = ""
    own: bool = False
    limit_weight: int = 300
    hours_weight: int = 200
    address_weight: int = 400
    path_weight: int = 300
    alert: int = 700
    high: int = 900
    tunings: Mapping[str, Tuning] = field(default_factory=dict)


class MonitorPolicies(Protocol):
    """What tells how an access is judged. The same answer for the same names, and the same object for the same answer.

    Both are what the log says, so they may be any text.
    """

    def policy(self, principal: str, path: str) -> MonitorPolicy:
        """For this principal at this secret."""


@dataclass(frozen=True)
class SamePolicy:
    """The same for everybody and everything."""

    everywhere: MonitorPolicy = field(default_factory=MonitorPolicy)

    def policy(self, principal: str, path: str) -> MonitorPolicy:
        """That one."""
        return self.everywhere
