"""The parts of the hub that a catalogue uses, and the scope of a catalogue that may do everything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from keyturn.catalogue.destinations import SyncSettings
from keyturn.catalogue.hub_entries import OWN, AppRoleEntry, EngineEntry, bare_resources, database_roles
from keyturn.catalogue.keys import KeySettings
from keyturn.catalogue.models import Catalogue
from keyturn.catalogue.pki import AuthoritySettings, RoleSettings
from keyturn.core.errors import Invalid
from keyturn.core.mounts import EVERY, overlap, split
from keyturn.core.ports.own_login import ROLES
from keyturn.core.rights.rights import ANYTHING, HubPlaces
from keyturn.core.text.path_patterns import apart
from keyturn.core.workspaces import HOUSE
from keyturn.settings.fields import Model, illegal_secret
from keyturn.settings.hub import HubSettings
from keyturn.strategies.base import StrategySettings
from keyturn.strategies.certificate import CertificateSettings
from keyturn.strategies.vault_dynamic import VaultDynamicSettings
from keyturn.strategies.vault_static_role import VaultStaticRoleSettings

AnyModel = TypeVar("AnyModel", bound=Model)


@dataclass(frozen=True)
class SecretPath:
    """A secret by its mount's path and its path there; ``*`` at the end means all paths with this prefix."""

    mount: str
    path: str


@dataclass(frozen=True)
class HubScope:
    """The parts of the hub that Keyturn works on.

    ``copied`` are undeclared secrets, which a sync only reads. ``admins`` and ``keys`` are paths in the state mount: of
    logins for targets and notices, and of keys that sign notices. ``consumers`` are the secrets of each application,
    ``consumer_keys`` the paths of the keys that sign its notices. ``lease_prefixes`` are the leases that an incident
    may end, of any engine. ``posters`` are the paths of what applications sign accesses with. ``managed_keys`` are keys
    in other engines.
    """

    places: HubPlaces
    secrets: tuple[SecretPath, ...]
    copied: tuple[SecretPath, ...] = ()
    admins: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    rotations: tuple[StrategySettings, ...] = ()
    consumers: Mapping[str, tuple[SecretPath, ...]] = field(default_factory=dict)
    consumer_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lease_prefixes: tuple[str, ...] = ()
    posters: tuple[str, ...] = ()
    authorities: tuple[tuple[AuthoritySettings, bool], ...] = ()
    """Each authority, with whether it signs others."""
    managed_keys: tuple[KeySettings, ...] = ()
    credentials: tuple[str, ...] = ()
    """The paths where the hub makes the credentials of access policies."""
    grant_admins: tuple[str, ...] = ()
    """The paths of the logins that make accounts for access; people store them."""
    set_up: tuple[str, ...] | None = None
    """The API paths of everything that `keyturn hub` makes in mounts for the catalogue; None for any."""

    credential_servers: tuple[str, ...] = ()
    """The API paths of the roles and connections that show the servers of ``credentials``."""

    approles: tuple[str, ...] = ()
    """The AppRoles of Keyturn's own logins that the catalogue gives other names."""

    @property
    def mounts(self) -> tuple[str, ...]:
        """The mounts of secrets, the default one first."""
        return tuple(dict.fromkeys((self.places.mount, *self.places.mounts.values())))


def places_of(catalogue: Catalogue, hub: HubSettings, house: str = HOUSE) -> HubPlaces:
    """Return the places in the hub by these settings and the catalogue; ``house`` is the prefix of the workspace's
    names.
    """
    role = hub.lease_token_role or HubPlaces(house=house).named(HubPlaces.lease_token_role)
    mounts, grants = catalogue.mount_paths, hub.grant_token_role
    return HubPlaces(
        hub.mount, hub.state_mount, hub.transit_mount, role, mounts, grants, hub.token_addresses, house=house
    )


def scope_of(
    catalogue: Catalogue, places: HubPlaces, also: Sequence[str] = (), lease_prefixes: Sequence[str] = ()
) -> HubScope:
    """Return the scope of a catalogue; ``also`` are further secrets, such as a renamed one. Raises Invalid."""
    for path in also:
        if flaw := illegal_secret(path):
            raise Invalid("render policies for", path, *flaw)
    _insist_on_apart(catalogue, places)
    targets, consumers = catalogue.targets.values(), catalogue.consumers.values()
    secrets, roles = sorted(catalogue.secrets.items()), database_roles(catalogue.hub)
    credentials = tuple(
        sorted({policy.credential for policy in catalogue.access_policies.values() if policy.credential})
    )
    made = [roles[credential] for credential in credentials if credential in roles]
    admins = {admin for target in targets if isinstance(admin := getattr(target, "admin", None), str)}
    admins |= {admin for store in catalogue.stores.values() if isinstance(admin := getattr(store, "admin", None), str)}
    admins |= {login for consumer in consumers if isinstance(login := getattr(consumer, "login", None), str)}
    return HubScope(
        places,
        tuple(secret_path(places, path) for path in sorted({*catalogue.secrets, *also})),
        tuple(sorted(_copied(catalogue, places), key=lambda copied: (copied.mount, copied.path))),
        tuple(sorted(admins)),
        tuple(sorted({consumer.signing_key for consumer in consumers})),
        tuple(secret.rotation for _, secret in secrets),
        {
            name: tuple(secret_path(places, path) for path, secret in secrets if name in secret.consumers)
            for name in sorted(catalogue.consumers)
        },
        {name: (catalogue.consumers[name].signing_key,) for name in sorted(catalogue.consumers)},
        tuple(sorted(lease_prefixes)),
        tuple(sorted(key for name, log in catalogue.access_logs.items() for key in log.keys(name))),
        tuple(_authorities(catalogue)),
        tuple(catalogue.keys[name] for name in sorted(catalogue.keys)),
        credentials,
        tuple(sorted({entry.admin for entry in catalogue.grants.values()})),
        tuple(sorted({made.told_at for made in bare_resources(catalogue.hub)})),
        tuple(
            at for role in made for at in (f"{role.mount}/roles/{role.name}", f"{role.mount}/config/{role.connection}")
        ),
        own_approles(catalogue.hub, places),
    )


def _insist_on_apart(catalogue: Catalogue, places: HubPlaces) -> None:
    """Raises Invalid where an engine overlaps a mount of secrets, or either overlaps Keyturn's own mounts."""
    own = {places.state_mount: "holds Keyturn's own state", places.transit_mount: "holds Keyturn's own keys"}
    secrets = {mount: f"is the mount {name}" for name, mount in {"default": places.mount, **places.mounts}.items()}
    rotations = (secret.rotation for secret in catalogue.secrets.values())
    entries = (*rotations, *catalogue.pki.values(), *catalogue.hub.values())
    engines = {getattr(entry, "mount", "") for entry in entries if not isinstance(entry, EngineEntry)} - {""}
    wanted = [*((mount, own) for mount in secrets), *((mount, own | secrets) for mount in sorted(engines))]
    for mount, taken in wanted:
        if other := next((other for other in taken if overlap(mount, other)), None):
            problem, hint = f"{other} {taken[other]}", "Name another mount in the catalogue"
            raise Invalid("render policies for", f"the mount {mount}", problem, hint)


def own_approles(entries: Mapping[str, Any], places: HubPlaces) -> tuple[str, ...]:
    usual = {places.named(role) for role in ROLES}
    own = (name for name, entry in entries.items() if isinstance(entry, AppRoleEntry) and entry.login in OWN)
    return tuple(sorted(name for name in own if name not in usual))


def _authorities(catalogue: Catalogue) -> Iterator[tuple[AuthoritySettings, bool]]:
    signers = {authority.signed_by for authority in catalogue.pki.values()}
    yield from ((catalogue.pki[name], name in signers) for name in sorted(catalogue.pki))


def secret_path(places: HubPlaces, path: str) -> SecretPath:
    mount, within = split(path)
    if mount and mount not in places.mounts:
        raise Invalid("render policies for", path, f"there is no mount {mount}", "Declare it under mounts")
    return SecretPath(places.mounts[mount] if mount else places.mount, within)


def _copied(catalogue: Catalogue, places: HubPlaces) -> set[SecretPath]:
    """Return the undeclared secrets that syncs copy.

    A rule can only have a prefix, so it covers at least the pattern.
    """
    patterns = {pattern for sync in catalogue.syncs.values() for pattern in undeclared_patterns(catalogue, sync)}
    return {
        SecretPath(mount, _beginning(within)) for pattern in patterns for mount, within in _in_mounts(places, pattern)
    }


def undeclared_patterns(catalogue: Catalogue, sync: SyncSettings) -> Iterator[str]:
    """Yield the undeclared secrets that a sync may copy: exact paths, and patterns of the operator's file."""
    if sync.of_declared:
        return
    yield from (path for path in sync.paths if "*" not in path and path not in catalogue.secrets)
    wild = [pattern for pattern in sync.paths if "*" in pattern]
    yield from (listed for listed in catalogue.policy.undeclared if any(_may_meet(listed, each) for each in wild))


def _may_meet(pattern: str, other: str) -> bool:
    """Whether a path may match both patterns, by their mounts and the texts before the first wildcard."""
    (mount, within), (other_mount, other_within) = apart(pattern), apart(other)
    first, second = within.partition("*")[0], other_within.partition("*")[0]
    alike = first.startswith(second) or second.startswith(first)
    return alike and (mount == other_mount or EVERY in (mount, other_mount))


def _in_mounts(places: HubPlaces, pattern: str) -> Iterator[tuple[str, str]]:
    mount, within = apart(pattern)
    named = {"": places.mount, **places.mounts}
    wanted = named if mount == EVERY else [mount] if mount in named else []
    yield from ((named[name], within) for name in wanted)


def _beginning(pattern: str) -> str:
    beginning, wildcard, _ = pattern.partition("*")
    return f"{beginning}{wildcard}"


def _any(kind: type[AnyModel], **settings: Any) -> AnyModel:
    return cast("AnyModel", kind.model_construct(**settings))


_ANY_ROLE: Final = {ANYTHING: _any(RoleSettings)}

EVERYTHING: Final = HubScope(
    HubPlaces(),
    (SecretPath("secret", ANYTHING),),
    admins=("stores/*", "targets/*"),
    keys=("webhooks/*",),
    rotations=(
        _any(VaultDynamicSettings, mount="database", role=ANYTHING),
        _any(VaultStaticRoleSettings, mount="database", role=ANYTHING),
        _any(CertificateSettings, mount="pki", role=ANYTHING, issuer=None),
        _any(CertificateSettings, mount="pki", role=ANYTHING, issuer="+"),
    ),
    consumers={"": (SecretPath("secret", "ml-training/*"),)},
    consumer_keys={"": ("webhooks/trainer", "webhooks/inference")},
    lease_prefixes=(ANYTHING,),
    posters=("posters/*",),
    authorities=(
        (_any(AuthoritySettings, mount="pki-root", signed_by=None, roles=_ANY_ROLE), True),
        (_any(AuthoritySettings, mount="pki", signed_by="pki-root", roles=_ANY_ROLE), False),
    ),
    credentials=("database/creds/*",),
    credential_servers=("database/roles/*", "database/config/*"),
    grant_admins=("grant-admins/*",),
)
"""The scope of the files in deployments/policies, which people narrow by hand, or use to try Keyturn."""
