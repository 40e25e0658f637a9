"""Checks that an access policy opens only its own secrets' target, with enough approvals."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.catalogue.access_policies import LOW, SECTION, AccessPolicySettings, Effect
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.choice import Classification
from keyturn.catalogue.files.problems import KeyPath
from keyturn.catalogue.hub_entries import database_roles
from keyturn.catalogue.models import SecretDeclaration
from keyturn.core.text.suggest import advice
from keyturn.settings.stores import System

Flaw = tuple[KeyPath, str, str]
"""The path in the entry, the message and the remedy."""

ORDER: Final = tuple(Classification)


@dataclass(frozen=True)
class Allowing:
    """A policy that allows access, and the target that it opens.

    ``chosen`` holds the classes of the policy's secrets, ``reached`` those of all secrets at the same server.
    """

    policy: AccessPolicySettings
    target: str
    system: System
    chosen: frozenset[Classification]
    reached: Mapping[Classification, str]
    """Each class with one example secret."""

    @property
    def highest(self) -> Classification | None:
        return max(self.reached, key=ORDER.index, default=None)


def find_access_flaws(world: World) -> Iterator[tuple[str, Flaw]]:
    targets = _targets(world)
    allowing = dict[str, Allowing]()
    for name, policy in world.policies.items():
        if policy.effect is Effect.DENY:
            continue
        if (target := targets.get(policy.gives)) is not None:
            allowing[name] = _allowing(policy, target, world)
            yield from ((name, flaw) for flaw in _other_targets(allowing[name], world))
        elif policy.credential and world.complete:
            message = "no database role of the section `hub:` has its credentials there"
            remedy = advice(policy.credential, database_roles(world.hub), "Declare it with kind: database-role.")
            yield name, (("credential",), message, remedy)
    for name, access in allowing.items():
        yield from ((name, flaw) for flaw in _too_few_approvals(name, access, allowing))


def _targets(world: World) -> dict[str, str]:
    made = {f"{SECTION}/{name}": entry.target for name, entry in world.grants.items()}
    return made | {credential: role.target for credential, role in database_roles(world.hub).items()}


def _allowing(policy: AccessPolicySettings, target: str, world: World) -> Allowing:
    system = world.system("targets", target)
    there = {path: secret for path, secret in world.secrets.items() if _meet(_system(secret, world), system)}
    chosen = frozenset(secret.classification for path, secret in there.items() if policy.covers(path, secret.about))
    return Allowing(policy, target, system, chosen, {secret.classification: path for path, secret in there.items()})


def _system(secret: SecretDeclaration, world: World) -> System | None:
    target = getattr(secret.rotation, "target", None)
    return world.system("targets", target) if target else None


def _meet(own: System | None, other: System) -> bool:
    """Whether both have a server in common: a host may be a list, and end with a dot."""
    if own is None or (own[0], own[2:]) != (other[0], other[2:]):
        return False
    return not _hosts(own).isdisjoint(_hosts(other))


def _hosts(system: System) -> frozenset[str]:
    return frozenset(host.strip().rstrip(".") for host in system[1].split(","))


def _other_targets(access: Allowing, world: World) -> Iterator[Flaw]:
    for path, secret in world.secrets.items():
        own = getattr(secret.rotation, "target", None)
        if own != access.target and access.policy.covers(path, secret.about):
            whose = f"whose target is {own}" if own else "which has no target"
            message = f"it gives access to the target {access.target}, and chooses {path}, {whose}"
            yield ("paths",), message, f"Choose secrets of {access.target} alone, or name the others under without."
            return


def _too_few_approvals(name: str, access: Allowing, others: Mapping[str, Allowing]) -> Iterator[Flaw]:
    if access.highest is None:
        return
    example = f"{access.reached[access.highest]}, which is {access.highest}"
    if access.policy.approvals == 0 and access.highest not in LOW:
        message = f"without approval it gives access to {access.target}, and so to {example}"
        yield ("approvals",), message, "Ask for one approval at least."
        return
    equals = {
        other: each.policy.approvals
        for other, each in others.items()
        if _meet(each.system, access.system) and access.highest in each.chosen
    }
    if name in equals:
        return
    fewest = min(equals, key=lambda other: equals[other], default=name)
    if equals.get(fewest, 0) > access.policy.approvals:
        message = f"it opens the server of the policy {fewest}, and so {example}, for fewer approvals"
        yield ("approvals",), message, f"Ask for {equals[fewest]}, as that one does."
