"""The resources that a catalogue needs in the hub, in the order in which they can be made."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from keyturn.catalogue.access_policies import LONGEST as LONGEST_GRANT
from keyturn.catalogue.hub_entries import (
    APPROLE,
    OWN,
    AppRoleEntry,
    AuditDeviceEntry,
    AuditHeaderEntry,
    AwsLoginEntry,
    AwsLoginRoleEntry,
    AwsRoleEntry,
    DatabaseEntry,
    DatabaseRoleEntry,
    EngineEntry,
    GroupEntry,
    JwtEntry,
    JwtRoleEntry,
    KubernetesEntry,
    KubernetesRoleEntry,
    LdapEntry,
    LoginEntry,
    NamespaceEntry,
    OidcEntry,
    OidcRoleEntry,
    PeopleEntry,
    RateLimitEntry,
    resource_of,
)
from keyturn.catalogue.models import Catalogue
from keyturn.catalogue.pki import mount_limits
from keyturn.catalogue.targets import MysqlSettings, PostgresqlSettings
from keyturn.core.clear_text import is_loopback
from keyturn.core.errors import Invalid
from keyturn.core.fingerprint_keys import FIRST_KEY
from keyturn.core.issued_tokens import LONGEST_TOKEN
from keyturn.core.rights.hub_setup import MAX_LEASE_TTL, NO_LOCKOUT, HubResource, Kind, ValueSource
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.workspaces import HOUSE
from keyturn.ledger.naming import NAMED, SIGNING_KEY
from keyturn.rights import hub_policies
from keyturn.rights.policy_documents import Origin, hub_documents
from keyturn.rights.roles import LOGINS
from keyturn.rights.scope import HubScope, own_approles, places_of, scope_of
from keyturn.settings.hub import HubSettings
from keyturn.strategies.base import StrategySettings
from keyturn.strategies.certificate import CertificateSettings
from keyturn.strategies.vault_dynamic import VaultDynamicSettings
from keyturn.strategies.vault_static_role import VaultStaticRoleSettings

METHODS: Final[Mapping[type, str]] = {
    JwtEntry: "jwt",
    KubernetesEntry: "kubernetes",
    AwsLoginEntry: "aws",
    OidcEntry: "oidc",
    LdapEntry: "ldap",
}
WORKERS: Final = frozenset({"worker", "revoker"})
"""The logins that ask for leases."""
SPARE: Final = timedelta(days=2)
"""How late a rotation may be before the token of the lease in use ends."""
POSTGRESQL: Final = "postgresql-database-plugin"
MYSQL: Final = "mysql-database-plugin"

Entries = Mapping[str, Any]
"""The entries of `hub:` by their names."""


@dataclass(frozen=True)
class HubDeclaration:
    """The setup of a hub: its policies, and the entries of `hub:` with the targets that they name."""

    scope: HubScope
    origin: Origin
    entries: Entries
    targets: Mapping[str, Any]
    namespace: str = ""
    """The namespace of all resources; empty for the root namespace."""
    ledger: str = ""
    """The ledger to name in a hub that names none, then a space and its address; empty to name none."""
    limits: Mapping[str, timedelta] = field(default_factory=dict)
    """The longest life of what an authority signs, by the mount of its engine."""

    @staticmethod
    def by(catalogue: Catalogue, hub: HubSettings, house: str = HOUSE, ledger: str = "") -> "HubDeclaration":
        """Return the declaration for a hub with these settings; ``house`` is the prefix of the workspace's names."""
        declared = HubDeclaration.of(catalogue, scope_of(catalogue, places_of(catalogue, hub, house)), catalogue.digest)
        return replace(declared, ledger=ledger, namespace=(hub.namespace or "").strip("/"))

    @staticmethod
    def of(catalogue: Catalogue, scope: HubScope, digest: str) -> "HubDeclaration":
        limits = mount_limits(catalogue.pki)
        return HubDeclaration(scope, Origin(digest), catalogue.hub, catalogue.targets, limits=limits)


def resources(declared: HubDeclaration) -> tuple[HubResource, ...]:
    """Return all resources, each once: mounts and methods, policies, keys, then their contents. Raises Invalid."""
    scope = replace(declared.scope, approles=own_approles(declared.entries, declared.scope.places))
    policies = tuple(policy_resources(scope, declared.origin))
    rest = [resource for name, entry in declared.entries.items() for resource in _entry(name, entry, declared)]
    order = list(Kind)
    rest.sort(key=lambda resource: order.index(resource.kind))
    every = (
        *_namespaces(declared),
        *_mounts(declared),
        *_methods(declared),
        *policies,
        *_own(declared),
        *_first(declared),
        *rest,
    )
    # The hub stores the names of policies in lower case.
    keys = [resource.key.lower() if resource.kind is Kind.POLICY else resource.key for resource in every]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise Invalid("set up", twice, "it is declared twice", "Give one of the two another name under hub")
    return every


def _namespaces(declared: HubDeclaration) -> Iterator[HubResource]:
    for name, entry in declared.entries.items():
        if isinstance(entry, NamespaceEntry):
            path = "/".join(part.strip("/") for part in (entry.parent, name) if part)
            if path != declared.namespace:
                problem = (
                    f"VAULT_NAMESPACE points to {declared.namespace or 'the root namespace'}, and everything with it"
                )
                raise Invalid("set up", f"the namespace {path}", problem, f"Set VAULT_NAMESPACE={path}, or correct hub")
            yield HubResource(Kind.NAMESPACE, path)


# --- mounts and methods ------------------------------------------------------------------------------------


def _mounts(declared: HubDeclaration) -> Iterator[HubResource]:
    scope, places = declared.scope, declared.scope.places
    engines = dict.fromkeys((places.state_mount, *scope.mounts), "kv") | {places.transit_mount: "transit"}
    wanted = [
        *(engine for rotation in scope.rotations for engine in _needed_by(rotation)),
        *(engine for name, entry in declared.entries.items() for engine in _engine(name, entry)),
        *((mount, "pki") for mount in declared.limits),
    ]
    for path, kind in wanted:
        if engines.setdefault(path, kind) != kind:
            problem = f"it would have to be an engine {engines[path]} and an engine {kind}"
            raise Invalid("set up", f"the mount {path}", problem, "Give one of the two another mount")
    for path, kind in engines.items():
        limit = {MAX_LEASE_TTL: int(declared.limits[path].total_seconds())} if path in declared.limits else {}
        yield HubResource(Kind.MOUNT, path, {"type": kind, **({"version": "2"} if kind == "kv" else {}), **limit})


def _needed_by(rotation: StrategySettings) -> Iterator[tuple[str, str]]:
    match rotation:
        case VaultDynamicSettings() | VaultStaticRoleSettings():
            yield rotation.mount, rotation.engine
        case CertificateSettings():
            yield rotation.mount, "pki"


def _engine(name: str, entry: Any) -> Iterator[tuple[str, str]]:
    match entry:
        case EngineEntry():
            yield entry.mount or name, entry.type
        case DatabaseEntry():
            yield entry.mount, "database"
        case AwsRoleEntry():
            yield entry.mount, "aws"


def _methods(declared: HubDeclaration) -> Iterator[HubResource]:
    if any(isinstance(entry, AppRoleEntry) for entry in declared.entries.values()):
        yield HubResource(Kind.AUTH_METHOD, APPROLE, {"type": APPROLE, NO_LOCKOUT: True})
    for name, entry in declared.entries.items():
        if method := METHODS.get(type(entry)):
            yield HubResource(Kind.AUTH_METHOD, name, {"type": method})


# --- what Keyturn itself needs -----------------------------------------------------------------------------


def policy_resources(scope: HubScope, origin: Origin) -> Iterator[HubResource]:
    for document in hub_documents(scope, origin):
        yield HubResource(Kind.POLICY, document.name.removesuffix(".hcl"), {"policy": document.text})


def _own(declared: HubDeclaration) -> Iterator[HubResource]:
    key = {"type": "ed25519", "exportable": False, "allow_plaintext_backup": False, "deletion_allowed": False}
    yield HubResource(Kind.TRANSIT_KEY, SIGNING_KEY, key, declared.scope.places.transit_mount)
    yield from token_roles(declared)


def token_roles(declared: HubDeclaration) -> Iterator[HubResource]:
    """Yield the roles of the tokens that ask for leases and for credentials of grants, where there are any.

    A token works only from the addresses of the logins that make it, where these are known. Its longest life is that of
    what it asks for.
    """
    scope, places = declared.scope, declared.scope.places
    kinds = (
        (
            hub_policies.LEASE,
            places.lease_token_role,
            addresses_of(declared.entries.values()),
            lease_life(scope.rotations),
        ),
        (hub_policies.GRANT, places.grant_token_role, (), LONGEST_GRANT),
    )
    for policy, role, networks, life in kinds:
        if hub_policies.sections(scope, policy):
            addresses = list(places.token_addresses or networks)
            fields = {
                "allowed_policies": [places.named(policy)],
                "orphan": True,
                "token_type": "service",
                "token_no_default_policy": True,
                "token_explicit_max_ttl": seconds(life),
            }
            # Without known addresses, an operator's own setting stays.
            yield HubResource(Kind.TOKEN_ROLE, role, fields | ({"token_bound_cidrs": addresses} if addresses else {}))


def lease_life(rotations: Iterable[StrategySettings]) -> timedelta:
    """Return how long a token must live: as long as its lease serves, its grace, and SPARE."""
    lives = [
        longest + rotation.grace + SPARE if (longest := getattr(rotation, "longest", None)) else LONGEST_TOKEN
        for rotation in rotations
        if isinstance(rotation, VaultDynamicSettings)
    ]
    return max(lives, default=LONGEST_TOKEN)


def addresses_of(entries: Iterable[Any]) -> tuple[str, ...]:
    """Return the addresses of workers and revokers; empty where one of them may use any address."""
    networks = [getattr(entry, "addresses", ()) for entry in entries if WORKERS & _logins_of(entry)]
    return tuple(sorted({each for some in networks for each in some})) if networks and all(networks) else ()


def _logins_of(entry: Any) -> frozenset[str]:
    match entry:
        case LoginEntry():
            return frozenset({entry.login})
        case PeopleEntry() | GroupEntry():
            return frozenset(entry.logins)
    return frozenset()


def _first(declared: HubDeclaration) -> Iterator[HubResource]:
    mount = declared.scope.places.state_mount
    yield HubResource(Kind.ENTRY, FIRST_KEY, mount=mount)
    if declared.ledger:
        yield HubResource(Kind.ENTRY, NAMED, mount=mount, initial=declared.ledger)


# --- entries of `hub:` -------------------------------------------------------------------------------------


def _entry(name: str, entry: Any, declared: HubDeclaration) -> Iterator[HubResource]:
    bare = resource_of(name, entry, declared.entries)
    if bare and isinstance(entry, DatabaseEntry):
        yield _database(bare, entry, declared.targets)
    elif bare:
        yield replace(bare, fields=_fields(name, entry, declared.scope.places), values=_values(entry))
    if isinstance(entry, GroupEntry):
        alias = {"name": entry.group or name, "mount_path": f"auth/{entry.method}/"}
        yield HubResource(Kind.GROUP_ALIAS, name, alias, entry.method)


def _values(entry: Any) -> dict[str, ValueSource]:
    match entry:
        case OidcEntry():
            at = ValueSource(file=entry.client_secret_file or "", variable=entry.client_secret_variable or "")
            return {"oidc_client_secret": at}
        case LdapEntry():
            at = ValueSource(file=entry.bind_password_file or "", variable=entry.bind_password_variable or "")
            return {"bindpass": at}
    return {}


def _fields(name: str, entry: Any, places: HubPlaces) -> dict[str, Any]:
    match entry:
        case AppRoleEntry():
            return _approle(name, entry, places)
        case JwtEntry():
            return _jwt(entry)
        case JwtRoleEntry():
            return _jwt_role(entry, places)
        case KubernetesEntry():
            return {"kubernetes_host": entry.host, "kubernetes_ca_cert": entry.ca_certificate or ""}
        case KubernetesRoleEntry():
            return _kubernetes_role(entry, places)
        case OidcEntry():
            return _oidc(entry)
        case OidcRoleEntry():
            return _oidc_role(entry, places)
        case LdapEntry():
            return _ldap(entry, places)
        case GroupEntry():
            return {"type": "external", "policies": people_policies(entry.logins, places)}
        case AwsLoginRoleEntry():
            principals = list(entry.principals)
            return {**_tokens(entry, places), "auth_type": "iam", "bound_iam_principal_arn": principals}
        case DatabaseRoleEntry():
            return _database_role(entry)
        case AwsRoleEntry():
            return _aws_role(entry)
        case RateLimitEntry():
            return _rate_limit(entry)
        case AuditHeaderEntry():
            return {"hmac": entry.hmac}
        case AuditDeviceEntry():
            return {"type": entry.type}
    raise AssertionError(f"{name}: {entry.kind}")


def policies_of(entry: LoginEntry, places: HubPlaces, role: str = "") -> list[str]:
    """Return the policies of a login; an AppRole of Keyturn's own may also replace its own secret id."""
    if entry.login.startswith(f"{hub_policies.CONSUMER}:"):
        return [places.named(entry.login.replace(":", "-"))]
    policies = [places.named(name) for name in LOGINS[entry.login]]
    return [*policies, hub_policies.login_policy(role)] if role and entry.login in OWN else policies


def _tokens(entry: LoginEntry | PeopleEntry, places: HubPlaces, role: str = "") -> dict[str, Any]:
    if isinstance(entry, PeopleEntry):
        policies = people_policies(entry.logins, places)
    else:
        policies = policies_of(entry, places, role)
    return {
        "token_policies": policies,
        "token_ttl": seconds(entry.token_ttl),
        "token_max_ttl": seconds(entry.token_max_ttl),
        "token_bound_cidrs": list(entry.addresses),
    }


def people_policies(logins: Iterable[str], places: HubPlaces) -> list[str]:
    return list(dict.fromkeys(places.named(policy) for login in logins for policy in LOGINS[login]))


def _approle(name: str, entry: AppRoleEntry, places: HubPlaces) -> dict[str, Any]:
    return {
        **_tokens(entry, places, name),
        "bind_secret_id": True,
        "secret_id_bound_cidrs": list(entry.addresses),
        "secret_id_ttl": seconds(entry.secret_id_ttl),
        "secret_id_num_uses": entry.secret_id_uses,
    }


def _jwt(entry: JwtEntry) -> dict[str, Any]:
    authority = entry.ca_certificate or ""
    return {
        "oidc_discovery_url": entry.discovery_url or "",
        "oidc_discovery_ca_pem": authority if entry.discovery_url else "",
        "jwks_url": entry.keys_url or "",
        "jwks_ca_pem": authority if entry.keys_url else "",
        "jwt_validation_pubkeys": list(entry.public_keys),
        "bound_issuer": entry.issuer or "",
    }


def _jwt_role(entry: JwtRoleEntry, places: HubPlaces) -> dict[str, Any]:
    return {
        **_tokens(entry, places),
        "role_type": "jwt",
        "bound_audiences": list(entry.audiences),
        "bound_subject": entry.subject or "",
        "bound_claims": dict(entry.claims) or None,
        "user_claim": entry.user_claim,
        "groups_claim": entry.groups_claim or "",
    }


def _oidc(entry: OidcEntry) -> dict[str, Any]:
    return {
        "oidc_discovery_url": entry.discovery_url,
        "oidc_discovery_ca_pem": entry.ca_certificate or "",
        "oidc_client_id": entry.client_id,
        "default_role": entry.default_role or "",
    }


def _oidc_role(entry: OidcRoleEntry, places: HubPlaces) -> dict[str, Any]:
    return {
        **_tokens(entry, places),
        "role_type": "oidc",
        "allowed_redirect_uris": list(entry.allowed_redirect_uris),
        "user_claim": entry.user_claim,
        "groups_claim": entry.groups_claim or "",
        "oidc_scopes": list(entry.scopes),
        "bound_claims": dict(entry.claims) or None,
        "claim_mappings": dict(entry.claim_mappings) or None,
    }


def _ldap(entry: LdapEntry, places: HubPlaces) -> dict[str, Any]:
    return {
        **_tokens(entry, places),
        "url": entry.url,
        "starttls": entry.start_tls,
        "insecure_tls": False,
        "certificate": entry.certificate or "",
        "userdn": entry.user_dn,
        "userattr": entry.user_attribute,
        "groupdn": entry.group_dn or "",
        "groupattr": entry.group_attribute,
        **({"groupfilter": entry.group_filter} if entry.group_filter else {}),
        "binddn": entry.bind_dn,
        "deny_null_bind": True,
    }


def _kubernetes_role(entry: KubernetesRoleEntry, places: HubPlaces) -> dict[str, Any]:
    return {
        **_tokens(entry, places),
        "bound_service_account_names": list(entry.service_accounts),
        "bound_service_account_namespaces": list(entry.namespaces),
        **({"audience": entry.audience} if entry.audience else {}),
    }


def _database(bare: HubResource, entry: DatabaseEntry, targets: Mapping[str, Any]) -> HubResource:
    match target := targets[entry.target]:
        case PostgresqlSettings():
            fields = {"plugin_name": POSTGRESQL, "connection_url": _connection_url(target)}
        case MysqlSettings():
            fields = {"plugin_name": MYSQL, **_mysql_connection(target)}
        case _:
            problem = f"{entry.target} is neither PostgreSQL nor MySQL"
            raise Invalid("set up", f"the connection {bare.name}", problem, "Make it by hand")
    values = {field: ValueSource(entry=target.admin, field=field) for field in ("username", "password")}
    return replace(bare, fields={**fields, "allowed_roles": list(entry.roles)}, values=values)


def _connection_url(target: PostgresqlSettings) -> str:
    mode = target.sslmode or ("disable" if is_loopback(target.host) else "verify-full")
    authority = f"&sslrootcert={quote(target.ca_file)}" if target.ca_file and mode.startswith("verify") else ""
    return f"postgresql://{{{{username}}}}:{{{{password}}}}@{target.server}?sslmode={mode}{authority}"


MYSQL_TLS: Final = {"disable": "", "require": "?tls=skip-verify", "verify": "?tls=true"}


def _mysql_connection(target: MysqlSettings) -> dict[str, str]:
    authority = _authority(target.ca_file) if target.ca_file and target.tls == "verify" else ""
    address = target.server.removesuffix("/")
    url = f"{{{{username}}}}:{{{{password}}}}@tcp({address})/{'' if authority else MYSQL_TLS[target.tls]}"
    return {"connection_url": url, **({"tls_ca": authority} if authority else {})}


def _authority(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise Invalid("read", file, "it can't be read, or is no text", "Correct ca_file of the target") from None


def _database_role(entry: DatabaseRoleEntry) -> dict[str, Any]:
    return {
        "db_name": entry.connection,
        "creation_statements": list(entry.creation),
        "revocation_statements": list(entry.revocation),
        "default_ttl": seconds(entry.ttl),
        "max_ttl": seconds(entry.max_ttl),
    }


def _aws_role(entry: AwsRoleEntry) -> dict[str, Any]:
    return {
        "credential_type": entry.credential_type,
        "role_arns": list(entry.role_arns),
        "policy_document": entry.policy_document or "",
        "default_sts_ttl": seconds(entry.ttl) if entry.credential_type != "iam_user" else 0,
    }


def _rate_limit(entry: RateLimitEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "rate": entry.rate,
        "interval": seconds(entry.interval),
        "block_interval": seconds(entry.block_interval),
    }


def seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())
