"""The resources to set up in a hub: kind, API address and wanted settings.

Source: "HTTP API" in the documentation of OpenBao and Vault: sys/mounts, sys/auth, sys/policies/acl, sys/quotas,
engines and auth methods.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_network
from typing import Any, Final, Protocol

SETUP: Final = "setup"
"""State entry that lists what Keyturn created in the hub; written at set-up."""

HUB_CHECKS: Final = "hub-checks"
"""State entry with the last daily set-up check; written by workers."""

Fields = Mapping[str, Any]
"""Settings by name as the hub reports them; none is secret."""


class Kind(StrEnum):
    """Kind of resource, in creation order.

    Those that depend on another server come last, so that they block nothing.
    """

    NAMESPACE = "namespace"
    MOUNT = "mount"
    AUTH_METHOD = "auth-method"
    POLICY = "policy"
    APPROLE = "approle"
    TOKEN_ROLE = "token-role"
    TRANSIT_KEY = "transit-key"
    ENTRY = "entry"
    JWT_CONFIG = "jwt-config"
    JWT_ROLE = "jwt-role"
    KUBERNETES_CONFIG = "kubernetes-config"
    KUBERNETES_ROLE = "kubernetes-role"
    LDAP_CONFIG = "ldap-config"
    OIDC_ROLE = "oidc-role"
    GROUP = "group"
    GROUP_ALIAS = "group-alias"
    AWS_LOGIN_ROLE = "aws-login-role"
    AWS_ROLE = "aws-role"
    AUDIT_DEVICE = "audit-device"
    AUDIT_HEADER = "audit-header"
    RATE_LIMIT = "rate-limit"
    OIDC_CONFIG = "oidc-config"
    DATABASE_CONNECTION = "database-connection"
    DATABASE_ROLE = "database-role"


HOLDS_DATA: Final = frozenset({Kind.NAMESPACE, Kind.MOUNT, Kind.AUTH_METHOD, Kind.TRANSIT_KEY, Kind.ENTRY})
"""Kinds that hold data: missing ones are not created again, and none is removed."""
FIXED: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.MOUNT: frozenset({"type", "version", "local", "seal_wrap"}),
    Kind.AUTH_METHOD: frozenset({"type", "local", "seal_wrap"}),
    Kind.TRANSIT_KEY: frozenset({"type", "derived", "exportable", "allow_plaintext_backup"}),
    Kind.GROUP: frozenset({"type"}),
    Kind.AUDIT_DEVICE: frozenset({"type"}),
}
"""Settings that the hub does not allow to change."""
ADDRESSES: Final[Mapping[Kind, str]] = {
    Kind.NAMESPACE: "sys/namespaces/{name}",
    Kind.MOUNT: "sys/mounts/{name}",
    Kind.AUTH_METHOD: "sys/auth/{name}",
    Kind.POLICY: "sys/policies/acl/{name}",
    Kind.APPROLE: "auth/{mount}/role/{name}",
    Kind.TOKEN_ROLE: "auth/token/roles/{name}",
    Kind.TRANSIT_KEY: "{mount}/keys/{name}",
    Kind.ENTRY: "{mount}/metadata/{name}",
    Kind.DATABASE_CONNECTION: "{mount}/config/{name}",
    Kind.DATABASE_ROLE: "{mount}/roles/{name}",
    Kind.JWT_CONFIG: "auth/{mount}/config",
    Kind.JWT_ROLE: "auth/{mount}/role/{name}",
    Kind.KUBERNETES_CONFIG: "auth/{mount}/config",
    Kind.KUBERNETES_ROLE: "auth/{mount}/role/{name}",
    Kind.LDAP_CONFIG: "auth/{mount}/config",
    Kind.OIDC_CONFIG: "auth/{mount}/config",
    Kind.OIDC_ROLE: "auth/{mount}/role/{name}",
    Kind.GROUP: "identity/group/name/{name}",
    Kind.GROUP_ALIAS: "identity/group-alias",
    Kind.AWS_LOGIN_ROLE: "auth/{mount}/role/{name}",
    Kind.AWS_ROLE: "{mount}/roles/{name}",
    Kind.AUDIT_DEVICE: "sys/audit/{name}",
    Kind.AUDIT_HEADER: "sys/config/auditing/request-headers/{name}",
    Kind.RATE_LIMIT: "sys/quotas/rate-limit/{name}",
}
LISTED: Final = {
    Kind.MOUNT: "sys/mounts",
    Kind.AUTH_METHOD: "sys/auth",
    Kind.AUDIT_DEVICE: "sys/audit",
    Kind.AUDIT_HEADER: "sys/config/auditing/request-headers",
}
"""Kinds reported only by a listing of all."""
NAMESPACES: Final = ADDRESSES[Kind.NAMESPACE].removesuffix("{name}")
TOLD_AT: Final = {
    **LISTED,
    Kind.NAMESPACE: ADDRESSES[Kind.NAMESPACE],
    Kind.GROUP_ALIAS: ADDRESSES[Kind.GROUP],
}
"""Read address of a kind, if it differs from the write address."""
NAMED_ELSEWHERE: Final = {Kind.AWS_LOGIN_ROLE: "auth/{mount}/roles"}
"""Listing address of a kind, if it is not the parent of the write address."""
CHANGED_BELOW: Final = {Kind.MOUNT: "/tune", Kind.AUTH_METHOD: "/tune", Kind.TRANSIT_KEY: "/config"}
MAX_LEASE_TTL: Final = "max_lease_ttl"
NO_LOCKOUT: Final = "user_lockout_disable"
"""A hub locks a role id for 15 minutes after five refused secret ids, which locks out its valid logins, too."""
SYSTEM_LIMIT: Final = 32 * 24 * 60 * 60
"""Seconds of the limit for a mount without its own. Source: `max_lease_ttl` in the documentation of OpenBao."""
IN_ORDER: Final = "_statements"
"""Suffix of fields whose lists are ordered."""


@dataclass(frozen=True)
class ValueSource:
    """Source of a secret, read when it is written to the hub: state ``entry`` and ``field``, ``file``, or environment
    ``variable``.
    """

    entry: str = ""
    field: str = ""
    file: str = ""
    variable: str = ""


@dataclass(frozen=True)
class HubResource:
    """One hub resource and its wanted settings.

    ``fields`` are compared and written. ``values`` are secrets: written, never shown or compared, since the hub never
    returns them.
    """

    kind: Kind
    name: str
    fields: Fields = field(default_factory=dict)
    mount: str = ""
    values: Mapping[str, ValueSource] = field(default_factory=dict)
    initial: str = ""
    """Initial content of a new entry, shown to people."""

    @property
    def key(self) -> str:
        """Its identifier: ``policy:keyturn-worker``, ``database-role:database/ml-reader``."""
        return f"{self.kind}:{'/'.join(filter(None, (self.mount, self.name)))}"

    @property
    def address(self) -> str:
        """Its write address in the hub's API."""
        return ADDRESSES[self.kind].format(mount=self.mount, name=self.name)

    @property
    def told_at(self) -> str:
        """Its read address in the hub's API."""
        return TOLD_AT.get(self.kind, ADDRESSES[self.kind]).format(mount=self.mount, name=self.name)

    @property
    def listing(self) -> str:
        """The address that lists its kind; empty if there is none."""
        if self.kind in TOLD_AT or not self.name:
            return ""
        above = ADDRESSES[self.kind].removesuffix("/{name}")
        return NAMED_ELSEWHERE.get(self.kind, above).format(mount=self.mount)

    @property
    def within(self) -> str:
        """The key of its mount or auth method; empty if none could be missing."""
        if not self.mount:
            return ""
        method = self.kind is Kind.GROUP_ALIAS or ADDRESSES[self.kind].startswith("auth/")
        return f"{Kind.AUTH_METHOD if method else Kind.MOUNT}:{self.mount}"


class SetupPort(Protocol):
    """The calls that set up a hub. Raises Denied, which does not show whether something exists."""

    def look(self, address: str) -> Fields | None:
        """Return what the hub reports; None if absent."""
        ...

    def names(self, address: str) -> Collection[str]:
        """The names below the address; empty if absent."""
        ...

    def put(self, address: str, body: Mapping[str, Any], hidden: Collection[str] = ()) -> None:
        """Create or change it. No message repeats what is ``hidden``."""
        ...

    def remove(self, address: str) -> None:
        """Remove it. Absent is success."""
        ...


class SetupVerdict(StrEnum):
    """The planned outcome for a resource."""

    CREATE = "create"
    CHANGE = "change"
    DRIFT = "drift"
    """Changed by others after Keyturn created it; applying restores it."""
    IN_PLACE = "in place"
    BLOCKED = "blocked"
    """A person has to decide."""
    UNKNOWN = "cannot tell"
    """The check failed."""
    LEFT_OVER = "left over"
    """Created by Keyturn and no longer declared."""


@dataclass(frozen=True)
class Difference:
    """One field that differs: ``present`` in the hub, ``wanted`` as declared."""

    field: str
    present: Any
    wanted: Any


@dataclass(frozen=True)
class Item:
    """The planned outcome for one resource, with the reason."""

    resource: HubResource
    verdict: SetupVerdict
    why: str = ""
    differences: tuple[Difference, ...] = ()
    uncompared: tuple[str, ...] = ()
    """Names of secrets that can't be compared, since the hub never returns them."""


@dataclass(frozen=True)
class HubPlan:
    """The plan for all resources, in execution order."""

    items: tuple[Item, ...]

    def of(self, *verdicts: SetupVerdict) -> tuple[Item, ...]:
        """The items with these verdicts."""
        return tuple(item for item in self.items if item.verdict in verdicts)

    @property
    def unknown(self) -> tuple[Item, ...]:
        """The items that could not be checked."""
        return self.of(SetupVerdict.UNKNOWN)

    @property
    def differs(self) -> bool:
        """Whether the hub is known to differ from the declaration."""
        return bool(
            self.of(
                SetupVerdict.CREATE,
                SetupVerdict.CHANGE,
                SetupVerdict.DRIFT,
                SetupVerdict.BLOCKED,
                SetupVerdict.LEFT_OVER,
            )
        )


def listed_in(answer: Fields, resource: HubResource) -> Fields | None:
    """One resource from a listing of all; None if absent."""
    if resource.kind is Kind.AUDIT_HEADER:
        headers: Mapping[str, Fields] = answer.get("headers") or {}
        return headers.get(resource.name.lower())
    return answer.get(f"{resource.name}/")


def fields_of(kind: Kind, answer: Fields) -> Fields | None:
    """The hub's report on a resource in declared form; None if absent."""
    match kind:
        case Kind.MOUNT | Kind.AUTH_METHOD:
            return _mount_fields(answer)
        case Kind.ENTRY | Kind.NAMESPACE:
            return {}
        case Kind.AUDIT_DEVICE:
            return {"type": answer.get("type")}
        case Kind.POLICY:
            return {"policy": answer.get("policy", "")}
        case Kind.TRANSIT_KEY:
            names = (*sorted(FIXED[kind]), "deletion_allowed")
            return {name: answer[name] for name in names if name in answer}
        case Kind.DATABASE_CONNECTION:
            details = answer.get("connection_details") or {}
            rest = {name: value for name, value in answer.items() if name != "connection_details"}
            return {**rest, **{name: value for name, value in details.items() if name != "password"}}
        case Kind.GROUP:
            return {name: answer.get(name) for name in ("type", "policies", "metadata")}
        case Kind.GROUP_ALIAS:
            alias = answer.get("alias") or {}
            return {name: alias.get(name) for name in ("name", "mount_path")} if alias else None
        case Kind.AWS_ROLE:
            kinds = answer.get("credential_types") or [answer.get("credential_type", "")]
            rest = {name: value for name, value in answer.items() if name != "credential_types"}
            return {**rest, "credential_type": kinds[0] if len(kinds) == 1 else kinds}
        case _:
            return dict(answer)


def _mount_fields(answer: Fields) -> Fields:
    config, options = answer.get("config") or {}, answer.get("options") or {}
    fields = {name: answer[name] for name in ("type", "description", "local", "seal_wrap") if name in answer}
    lives = {name: config.get(name, 0) for name in ("default_lease_ttl", MAX_LEASE_TTL)}
    lockout = {name: value for name, value in (config.get("user_lockout_config") or {}).items() if name == NO_LOCKOUT}
    return {**fields, **lives, **lockout, **({"version": options["version"]} if "version" in options else {})}


def body_of(resource: HubResource, fields: Fields, *, anew: bool) -> dict[str, Any]:
    """The request body that creates or changes it."""
    if resource.kind not in FIXED or resource.kind is Kind.GROUP:
        return dict(fields)
    if not anew:
        changed = {name: value for name, value in fields.items() if name not in {*FIXED[resource.kind], NO_LOCKOUT}}
        return changed | tuned_after(fields)
    if resource.kind is Kind.TRANSIT_KEY:
        return {name: value for name, value in fields.items() if name != "deletion_allowed"}
    lives = {name: fields[name] for name in ("default_lease_ttl", MAX_LEASE_TTL) if name in fields}
    plain = {name: value for name, value in fields.items() if name not in {*lives, "version", NO_LOCKOUT}}
    return plain | {"config": lives} | ({"options": {"version": fields["version"]}} if "version" in fields else {})


def tuned_after(fields: Fields) -> dict[str, Any]:
    """The part of an auth method's settings that a hub takes only once the method exists."""
    return {"user_lockout_config": {"lockout_disable": fields[NO_LOCKOUT]}} if NO_LOCKOUT in fields else {}


def plain_value(name: str, value: Any) -> Any:
    """A value in comparable form; empty becomes None, since the hub reports it in several ways."""
    plain = _plain(name, value)
    return None if plain in ("", [], {}) else plain


def _plain(name: str, value: Any) -> Any:
    """A policy without comments and indentation; an unordered list sorted."""
    if name == "policy":
        return [
            line.strip() for line in str(value or "").splitlines() if line.strip() and not line.strip().startswith("#")
        ]
    if name == "policy_document" and isinstance(value, str) and value:
        return _json(value)
    if name.endswith("_cidrs"):
        return sorted(map(_network, value or ()))
    if isinstance(value, list | tuple):
        values = [each.strip() if isinstance(each, str) else each for each in value]
        return values if name.endswith(IN_ORDER) else sorted(values, key=str)
    return value.strip() if isinstance(value, str) else value


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return str(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def differing(present: Fields, wanted: Fields) -> Sequence[Difference]:
    """The fields of ``wanted`` that differ or are missing in the hub."""
    return [
        Difference(name, present.get(name), value)
        for name, value in wanted.items()
        if plain_value(name, present.get(name)) != plain_value(name, value)
    ]
