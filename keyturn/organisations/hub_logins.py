"""Removal of what `keyturn setup hub --apply` made for one project: consumer logins, policies and database roles.

It needs an administrator's login, and skips what was changed by hand.
"""

from collections.abc import Collection, Iterator
from typing import Final

from keyturn.catalogue.models import Catalogue
from keyturn.core.errors import Conflict
from keyturn.core.rights.hub_setup import HubPlan, Item, Kind, SetupVerdict
from keyturn.core.rights.rights import HubPlaces
from keyturn.organisations.projects import own_consumers
from keyturn.rights.hub_apply import HubPort, remove_left_over
from keyturn.rights.hub_policies import CONSUMER
from keyturn.rights.hub_record import MadeEntry, SetupRecord, kept_value, read_record
from keyturn.rights.hub_state import look_at, seen
from keyturn.strategies.vault_dynamic import VaultDynamicSettings

ROLES: Final = (Kind.APPROLE, Kind.JWT_ROLE, Kind.KUBERNETES_ROLE, Kind.AWS_LOGIN_ROLE)
POLICIES: Final = "token_policies"
"""The field of a role that names its policies."""


def made_for(record: SetupRecord, catalogue: Catalogue, paths: Collection[str], places: HubPlaces) -> tuple[str, ...]:
    """The record's keys for these secrets alone; policies first, to end tokens' rights."""
    policies = {places.named(f"{CONSUMER}-{consumer}") for consumer in own_consumers(catalogue, paths)}
    roles = set(_database_roles(catalogue, paths))
    ours = [entry.resource for entry in record.made.values() if _belongs(entry, policies, roles)]
    ours.sort(key=lambda resource: (resource.kind is not Kind.POLICY, resource.key))
    return tuple(resource.key for resource in ours)


def _belongs(entry: MadeEntry, policies: Collection[str], roles: Collection[tuple[str, str]]) -> bool:
    resource = entry.resource
    if resource.kind is Kind.POLICY:
        return resource.name in policies
    if resource.kind is Kind.DATABASE_ROLE:
        return (resource.mount, resource.name) in roles
    named = entry.fields.get(POLICIES)
    return resource.kind in ROLES and isinstance(named, list) and bool(named) and set(named) <= set(policies)


def _database_roles(catalogue: Catalogue, paths: Collection[str]) -> Iterator[tuple[str, str]]:
    """The database roles of these secrets."""
    for path in set(paths) & set(catalogue.secrets):
        rotation = catalogue.secrets[path].rotation
        if isinstance(rotation, VaultDynamicSettings) and rotation.engine == "database":
            yield rotation.mount, rotation.role


def remove_made(hub: HubPort, key: str) -> None:
    """Remove one of them. Absent is success.

    Raises Denied without an administrator's login, and Conflict where it was changed since.
    """
    record = read_record(hub)
    if (entry := record.made.get(key)) is None:
        return
    present = seen(look_at(hub, [entry.resource])[key])
    if present is not None and any(
        kept_value(name, present.get(name)) != value for name, value in entry.fields.items()
    ):
        problem = "it was changed since Keyturn made it"
        raise Conflict("remove", key, problem, "See who uses it now, and remove it by hand")
    remove_left_over(hub, HubPlan((Item(entry.resource, SetupVerdict.LEFT_OVER),)), record, [key])
