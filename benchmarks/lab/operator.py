"""What whoever runs the lab has told Keyturn: settings, and what the ledger says of revocations and retirements."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from benchmarks.lab.calendar import DAY, HOUR, START
from benchmarks.lab.world import BACKUP, HUB, PERSON, SCANNER, SYNC, Principal, World
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning

INSIDE: Final = (ip_network("10.0.0.0/8"),)
PLATFORM: Final = (ip_network("10.10.0.0/24"),)
LIMITS: Final = (1_000, 10_000, 100_000, 1_000_000)
GRACE: Final = HOUR
"""How long after a promotion the version before it is retired."""
OFF: Final = Tuning(0)
BEGAN: Final = START.timestamp()

EVERYBODY: Final = MonitorPolicy()
MACHINE: Final = MonitorPolicy(hours_weight=0, addresses=INSIDE)
TIMETABLE: Final = MonitorPolicy(
    hours_weight=0,
    limit=LIMITS[2],
    addresses=PLATFORM,
    tunings={"enumeration": OFF, "first-restricted": OFF, "failed-reads": OFF},
)
"""Of the platform's logins, which read everything, as docs/monitoring.md proposes for them."""


class LabPolicies:
    """The settings of docs/monitoring.md, as a careful operator would have them, and nothing that knows an attack.

    People have their zones; machines work at any hour, from the lab's own networks. Limits are the next power of ten
    above three times what a service reads a day. Whoever is not known has what holds for everybody.
    """

    def __init__(self, world: World) -> None:
        self._restricted = {secret.path for secret in world.secrets if secret.restricted}
        self._open = {principal.name: settings(principal) for principal in world.principals}
        self._made: dict[tuple[int, bool], MonitorPolicy] = {}
        # Equal settings are one object, so that a detector makes what it derives from them once.
        shared: dict[str, MonitorPolicy] = {}
        for name, policy in self._open.items():
            self._open[name] = shared.setdefault(repr(policy), policy)

    def policy(self, principal: str, path: str) -> MonitorPolicy:
        """For this principal at this secret."""
        policy = self._open.get(principal, EVERYBODY)
        key = id(policy), path in self._restricted
        if key not in self._made:
            self._made[key] = replace(policy, restricted=key[1])
        return self._made[key]


def settings(principal: Principal) -> MonitorPolicy:
    """What holds for a principal."""
    if principal.kind in (SYNC, BACKUP, SCANNER):
        return TIMETABLE
    if principal.kind == PERSON:
        return MonitorPolicy(zone=principal.zone)
    limit = next((limit for limit in LIMITS if limit > 3 * principal.reads_a_day), LIMITS[-1])
    return replace(MACHINE, limit=limit, addresses=INSIDE if principal.system == HUB else ())


class LabHistory:
    """A History of what the lab's rotations and revocations ended; they come to it as the run goes on."""

    def __init__(self, world: World) -> None:
        self._promotions = world.promotions
        self._initial = {secret.path: secret.version for secret in world.secrets}
        self._revoked: dict[str, list[float]] = defaultdict(list)
        for at, secret in sorted(world.revocations, key=lambda revocation: revocation[0]):
            self._revoked[secret.path].append(BEGAN + at)

    def revoked_at(self, path: str, at: float) -> float | None:
        """When it was last revoked, up to that moment."""
        moments = self._revoked.get(path, [])
        before = bisect_right(moments, at)
        return moments[before - 1] if before else None

    def retired_at(self, path: str, version: int, at: float) -> float | None:
        """When this version was ended, up to that moment."""
        if version < self._initial.get(path, 0):
            return BEGAN - 30 * DAY
        ends = (
            BEGAN + moment + (0 if BEGAN + moment in self._revoked.get(path, ()) else GRACE)
            for moment, promoted in self._promotions.get(path, ())
            if promoted == version + 1
        )
        return next((end for end in ends if end <= at), None)
