"""What whoever runs the lab has told Keyturn: settings, and what the ledger says of revocations and retirements."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from benchmarks.lab.calendar import DAY, ZONES, moment
from benchmarks.lab.world import (
    BACKUP,
    EUROPE,
    GRACE,
    HOMES,
    HUB,
    PERSON,
    SCANNER,
    SYNC,
    WRITER,
    Principal,
    Secret,
    World,
)
from keyturn.access_log.detection.history import SecretHistory
from keyturn.access_log.detection.policy import MonitorPolicy, Site, Tuning
from keyturn.core.ports.ledger import Entry, Outcome

INSIDE: Final = (ip_network("10.0.0.0/8"),)
PLATFORM: Final = (ip_network("10.10.0.0/24"),)
LIMITS: Final = (1_000, 10_000, 100_000, 1_000_000)
OFF: Final = Tuning(0)
PLATFORM_LOGINS: Final = (SYNC, BACKUP, SCANNER, WRITER)

PLACES: Final = (("Los Angeles", 34.1, -118.2), ("Zurich", 47.4, 8.5), ("London", 51.5, -0.1), ("Tokyo", 35.7, 139.7))
"""Of the zones, in their order: an office and an entrance to the VPN in each."""


def _sites() -> tuple[Site, ...]:
    """What the lab's networks are known to be, and the regions to which IANA gave the first numbers of others."""
    own = (
        Site(name, (ip_network(f"10.{20 + index}.0.0/16"), ip_network(f"10.{96 + index}.0.0/16")), north, east)
        for index, (name, north, east) in enumerate(PLACES)
    )
    regions = (
        Site(f"providers of {name}", tuple(ip_network(f"{first}.0.0.0/8") for first in numbers), north, east)
        for numbers, (name, north, east) in zip((HOMES[ZONES[0]], EUROPE, (), HOMES[ZONES[3]]), PLACES, strict=True)
        if numbers
    )
    return *own, *regions, Site("Africa", (ip_network("102.0.0.0/8"),), 0, 20), Site("South America", SOUTH, -15, -55)


SOUTH: Final = tuple(ip_network(f"{first}.0.0.0/8") for first in (177, 190, 201))
SITES: Final = _sites()
EVERYBODY: Final = MonitorPolicy(sites=SITES)
MACHINE: Final = MonitorPolicy(hours_weight=0, addresses=INSIDE)
TIMETABLE: Final = MonitorPolicy(
    hours_weight=0,
    limit=LIMITS[2],
    addresses=PLATFORM,
    tunings=dict.fromkeys(("enumeration", "first-restricted", "failed-reads", "several-systems", "decoy"), OFF),
)
"""Of the platform's logins, which read everything, as docs/access-monitoring.md proposes for them."""


class LabPolicies:
    """The settings of docs/access-monitoring.md as a careful operator would have them. They know no attack.

    People have their zones; machines work at any hour, from the lab's own networks. Limits are the next power of ten
    above three times what a service reads a day. Whoever is not known has what holds for everybody. With ``bare`` only
    classifications and the platform's logins are told, and nothing of people, machines, networks and limits. Above
    ``alert`` thousandths there is one.
    """

    def __init__(self, world: World, *, bare: bool = False, alert: int = EVERYBODY.alert) -> None:
        self._restricted = {secret.path for secret in world.secrets if secret.restricted}
        self._decoys = {decoy.path for decoy in world.decoys}
        declared = [principal for principal in world.principals if not bare or principal.kind in PLATFORM_LOGINS]
        self._everybody = MonitorPolicy() if bare else EVERYBODY
        self._alert = alert
        self._open = {principal.name: settings(principal) for principal in declared}
        self._made: dict[tuple[int, bool, bool], MonitorPolicy] = {}
        # Equal settings are one object, so that a detector makes what it derives from them once.
        shared: dict[str, MonitorPolicy] = {}
        for name, policy in self._open.items():
            self._open[name] = shared.setdefault(repr(policy), policy)

    def policy(self, principal: str, path: str) -> MonitorPolicy:
        """For this principal at this secret."""
        policy = self._open.get(principal, self._everybody)
        key = id(policy), path in self._restricted, path in self._decoys
        if key not in self._made:
            restricted, decoy = key[1:]
            self._made[key] = replace(policy, restricted=restricted, decoy=decoy, alert=self._alert)
        return self._made[key]


def settings(principal: Principal) -> MonitorPolicy:
    """What holds for a principal."""
    if principal.kind in PLATFORM_LOGINS:
        return TIMETABLE
    if principal.kind == PERSON:
        return MonitorPolicy(zone=principal.zone, sites=SITES)
    limit = next((limit for limit in LIMITS if limit > 3 * principal.reads_a_day), LIMITS[-1])
    return replace(MACHINE, limit=limit, addresses=INSIDE if principal.system == HUB else ())


def history(world: World) -> SecretHistory:
    """What the ledger records the lab's secrets, to which comes what the run rotates and revokes."""
    ended = SecretHistory()

    def tell(at: float, action: str, secret: Secret, version: int) -> None:
        ended.add(Entry(moment(at), "keyturn", action, Outcome.DONE, secret=secret.path, version=version))

    def listen(at: float, secret: Secret, revoked: bool) -> None:
        if revoked:
            tell(at, "cut", secret, 0)
        tell(at, "promote", secret, secret.version)
        if not revoked:
            tell(at + GRACE, "retire", secret, 0)

    for secret in world.secrets:
        tell(-30 * DAY, "promote", secret, secret.version)
        tell(-30 * DAY + GRACE, "retire", secret, 0)
    world.listeners.append(listen)
    return ended
