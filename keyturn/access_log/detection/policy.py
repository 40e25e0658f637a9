"""What is usual for a principal at a secret. Weights and scores are thousandths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

Network = IPv4Network | IPv6Network


class React(StrEnum):
    """The reaction to an odd read of a secret."""

    OFF = "off"
    DRY_RUN = "dry-run"
    """Report what a revocation would do."""
    REVOKE = "revoke"

    @property
    def rank(self) -> int:
        """The order of reactions, strongest last."""
        return list(React).index(self)


@dataclass(frozen=True)
class Tuning:
    """A rule's settings. Weight 0 is off, and each rule defines ``count`` and ``within``."""

    weight: int
    count: int = 0
    within: timedelta = timedelta(0)
    react: React = React.OFF


@dataclass(frozen=True)
class Site:
    """A place in degrees (north and east are positive)."""

    name: str
    networks: tuple[Network, ...]
    latitude: float
    longitude: float


@dataclass(frozen=True)
class MonitorPolicy:
    """How accesses of some principals to some secrets are judged.

    ``limit`` accesses a day are usual, from ``begin`` to before ``end`` (minutes of the day in ``zone``, possibly over
    midnight). Empty ``addresses`` and ``readers`` (patterns) allow any. ``decoy`` secrets are never used. ``identity``
    is the principal's name across systems, ``sites`` locate networks. ``own`` marks Keyturn's in the hub. ``tunings``
    override rules' defaults.
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
    """Selects policies. Same names give the same policy, and equal policies are one object.

    Names are from the log, and may be any text.
    """

    def policy(self, principal: str, path: str) -> MonitorPolicy:
        """The policy of this principal and secret."""


@dataclass(frozen=True)
class SamePolicy:
    """One policy for all accesses."""

    everywhere: MonitorPolicy = field(default_factory=MonitorPolicy)

    def policy(self, principal: str, path: str) -> MonitorPolicy:
        """That policy."""
        return self.everywhere
