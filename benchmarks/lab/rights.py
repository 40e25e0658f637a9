"""What the lab's policies allow whom, and which of them grants a read; benchmarks/detection.md has the shares."""

from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.lab.world import Principal, Secret, Team

SHARED: Final = "shared"
"""The team whose secrets everybody may read, and the policy that allows it."""
EVERYBODY: Final = "engineers"
"""The policy of all people, which opens a part of what other teams have."""
ADMINS: Final = "hub-admins"
"""The policy of people who may write policies."""


class Scope(IntEnum):
    """How much of the hub somebody's policies open: to programs what they list, or the team's folder, or more."""

    OWN = 0
    FOLDER = 1
    TEAM = 2
    LAB = 3


@dataclass(frozen=True)
class Habits:
    """How a team's rights are written.

    ``open`` lets its people read its whole folder, what is restricted too; ``rewrites`` has its pipeline write all of
    its policies anew with each change; ``groups`` says that who belongs to it, and who is on call, is written in the
    hub, and not at an identity provider, of which the hub hears no more than with the next login.
    """

    open: bool = False
    rewrites: bool = False
    groups: bool = False

    @classmethod
    def drawn(cls, draw: Random) -> "Habits":
        """Of one team."""
        return cls(draw.random() < OPEN, draw.random() < REWRITES, draw.random() < GROUPS)


OPEN: Final = 0.35
REWRITES: Final = 0.25
GROUPS: Final = 0.25
LEADS: Final = 0.1
"""Of the people of a team that is not open: how many may read its whole folder nevertheless."""
EVERYWHERE: Final = 0.02
"""Of all people: how many may read everything, to be of help in any team's trouble."""
SCOPES: Final = {
    "service": (55, 35, 9, 1),
    "inference": (55, 35, 9, 1),
    "batch": (55, 35, 9, 1),
    "cron": (55, 35, 9, 1),
    "ci": (15, 70, 14, 1),
    "training": (10, 75, 14, 1),
}
"""Of a hundred programs of a kind: how many have which scope, from their own secrets to all of the lab's."""
PREFIXES: Final = {
    "person": "team",
    "ci": "ci",
    "training": "train",
    "batch": "jobs",
    "cron": "jobs",
    "dormant": "legacy",
}
PLATFORM: Final = ("sync", "backup", "scanner", "writer")


def scope(kind: str, team: "Team", draw: Random) -> Scope:
    """How much somebody new may read."""
    if kind in SCOPES:
        return Scope(draw.choices(range(4), SCOPES[kind])[0])
    if draw.random() < EVERYWHERE:
        return Scope.LAB
    return Scope.TEAM if team.habits.open or draw.random() < LEADS else Scope.FOLDER


def granted(principal: "Principal", secret: "Secret") -> str:
    """The policy that lets this one read that; empty where it is no hub that is asked, for a cloud's log tells none."""
    if principal.system != "hub":
        return ""
    if principal.kind in PLATFORM:
        return principal.short
    prefix, team = PREFIXES.get(principal.kind, "apps"), secret.team.name
    if principal.scope == Scope.LAB:
        return f"{prefix}-all"
    if team == SHARED:
        return SHARED
    if principal.scope == Scope.TEAM and secret.team is principal.team:
        return f"{prefix}-{team}-all"
    if principal.kind == "person":
        return _of_a_person(principal, secret)
    listed = principal.scope == Scope.OWN or secret.restricted or secret.team is not principal.team
    return f"app-{principal.short}" if listed else f"{prefix}-{team}"


def _of_a_person(principal: "Principal", secret: "Secret") -> str:
    if secret.team is not principal.team and secret not in principal.secrets:
        return EVERYBODY
    if not secret.restricted:
        return f"team-{secret.team.name}"
    on_call = principal.duty is secret.team and secret not in principal.secrets
    return f"{'oncall' if on_call else 'restricted'}-{secret.team.name}"


def held(principal: "Principal") -> str:
    """The policies that a login gets, in alphabetical order with commas between, as the audit log has them."""
    own = {principal.short} if principal.kind in PLATFORM else {granted(principal, each) for each in principal.secrets}
    if principal.kind == "person":
        own.add(EVERYBODY)
        if principal.scope < Scope.TEAM:
            own.add(f"team-{principal.team.name}")
    if principal.operates:
        own.add(ADMINS)
    if principal.duty:
        own.add(f"oncall-{principal.duty.name}")
    return ",".join(sorted({"default", *own}))


def of_the_team(principal: "Principal") -> set[str]:
    """Those of its policies that its own team's pipeline writes."""
    if principal.system != "hub" or principal.scope == Scope.LAB:
        return set()
    return {each for each in held(principal).split(",") if each.startswith("app-") or principal.team.name in each}


def may_read(principal: "Principal", secret: "Secret") -> bool:
    """Whether a person may: of the own team all but what is restricted, and that where it is theirs or their duty."""
    if secret.restricted and principal.scope < Scope.TEAM:
        return secret in principal.secrets or principal.duty is secret.team
    return secret.team is principal.team or principal.scope == Scope.LAB


def is_listed(principal: "Principal", secret: "Secret") -> bool:
    """Whether a program may read a secret only once its own policy names it, so that this has to be changed first."""
    return granted(principal, secret) == f"app-{principal.short}"
