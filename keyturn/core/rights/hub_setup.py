"""What there is to set up in a hub: each thing by its kind, where it is in the hub's API, and what it shall be.

Source: "HTTP API" in the documentation of OpenBao and Vault: sys/mounts, sys/auth, sys/policies/acl, sys/quotas, and
the pages of the engines and auth methods.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_network
from typing import Any, Final, Protocol

SETUP: Final = "setup"
"""The entry of Keyturn's own mount that tells what Keyturn has made in the hub; whoever sets the hub up writes it."""

HUB_CHECKS: Final = "hub-checks"
"""Where in that mount it stands what the last daily look at the hub's set-up has come to; workers write it."""

Fields = Mapping[str, Any]
"""Settings of a thing by their names, as the hub tells them; none is a secret."""


class Kind(StrEnum):
    """What a thing is, as people name it; in the order in which all of it is made.

    What another server has to answer for comes last, so that it keeps nothing else from being made.
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
"""With these goes what they hold: one that is gone is not made anew, and none is removed."""
FIXED: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.MOUNT: frozenset({"type", "version", "local", "seal_wrap"}),
    Kind.AUTH_METHOD: frozenset({"type", "local", "seal_wrap"}),
    Kind.TRANSIT_KEY: frozenset({"type", "derived", "exportable", "allow_plaintext_backup"}),
    Kind.GROUP: frozenset({"type"}),
    Kind.AUDIT_DEVICE: frozenset({"type"}),
}
"""What the hub lets nobody change of what is there."""
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
"""What is told by a listing of all, and not by itself."""
NAMESPACES: Final = ADDRESSES[Kind.NAMESPACE].removesuffix("{name}")
TOLD_AT: Final = {
    **LISTED,
    Kind.NAMESPACE: ADDRESSES[Kind.NAMESPACE],
    Kind.GROUP_ALIAS: ADDRESSES[Kind.GROUP],
}
"""Where a kind is told, if not where it is written."""
NAMED_ELSEWHERE: Final = {Kind.AWS_LOGIN_ROLE: "auth/{mount}/roles"}
"""Where the names of a kind are listed, if not above where each is."""
CHANGED_BELOW: Final = {Kind.MOUNT: "/tune", Kind.AUTH_METHOD: "/tune", Kind.TRANSIT_KEY: "/config"}
MAX_LEASE_TTL: Final = "max_lease_ttl"
SYSTEM_LIMIT: Final = 32 * 24 * 60 * 60
"""Seconds of the limit that a mount without one has. Source: `max_lease_ttl` in the documentation of OpenBao."""
IN_ORDER: Final = "_statements"
"""How the fields end whose lists have an order."""


@dataclass(frozen=True)
class ValueSource:
    """Where a secret is read at the moment in which it is written to the hub.

    It is ``field`` of ``entry`` in Keyturn's own mount, or the content of ``file``, or the environment's ``variable``.
    """

    entry: str = ""
    field: str = ""
    file: str = ""
    variable: str = ""


@dataclass(frozen=True)
class HubResource:
    """One thing of the hub, and what it shall be.

    ``fields`` are compared and written. ``values`` are secrets: written besides, never told, and compared by nobody,
    since the hub gives none of them back. ``within`` is the mount or auth method that it is in.
    """

    kind: Kind
    name: str
    fields: Fields = field(default_factory=dict)
    mount: str = ""
    values: Mapping[str, ValueSource] = field(default_factory=dict)
    initial: str = ""
    """What a new entry begins with, where people are told that."""

    @property
    def key(self) -> str:
        """What it is called: ``policy:keyturn-worker``, ``database-role:database/ml-reader``."""
        return f"{self.kind}:{'/'.join(filter(None, (self.mount, self.name)))}"

    @property
    def address(self) -> str:
        """Where it is written in the hub's API."""
        return ADDRESSES[self.kind].format(mount=self.mount, name=self.name)

    @property
    def told_at(self) -> str:
        """Where it is read in the hub's API."""
        return TOLD_AT.get(self.kind, ADDRESSES[self.kind]).format(mount=self.mount, name=self.name)

    @property
    def listing(self) -> str:
        """Where the hub lists the names of its kind beside it; empty where that tells nothing of it."""
        if self.kind in TOLD_AT or not self.name:
            return ""
        above = ADDRESSES[self.kind].removesuffix("/{name}")
        return NAMED_ELSEWHERE.get(self.kind, above).format(mount=self.mount)

    @property
    def within(self) -> str:
        """The key of the mount or auth method that it is in; empty where it is in none that could be lacking."""
        if not self.mount:
            return ""
        method = self.kind is Kind.GROUP_ALIAS or ADDRESSES[self.kind].startswith("auth/")
        return f"{Kind.AUTH_METHOD if method else Kind.MOUNT}:{self.mount}"


class SetupPort(Protocol):
    """The calls that set a hub up. What is denied raises Denied: it is no word of what is there."""

    def look(self, address: str) -> Fields | None:
        """What the hub tells of it; None where nothing is there."""
        ...

    def names(self, address: str) -> Collection[str]:
        """The names of what is below it; none where nothing is there."""
        ...

    def put(self, address: str, body: Mapping[str, Any], hidden: Collection[str] = ()) -> None:
        """Make it, or change it. No message repeats what is ``hidden``."""
        ...

    def remove(self, address: str) -> None:
        """Take it away. Absent is success."""
        ...


class SetupVerdict(StrEnum):
    """What becomes of a thing."""

    CREATE = "create"
    CHANGE = "change"
    DRIFT = "drift"
    """Keyturn made it, and somebody else has changed it since; applying sets it back."""
    IN_PLACE = "in place"
    BLOCKED = "blocked"
    """A person has to say what is right."""
    UNKNOWN = "cannot tell"
    """Nobody could look."""
    LEFT_OVER = "left over"
    """Keyturn made it, and nothing declares it any more."""


@dataclass(frozen=True)
class Difference:
    """One field that is not as it shall be; ``present`` is what the hub has, ``wanted`` what was asked for."""

    field: str
    present: Any
    wanted: Any


@dataclass(frozen=True)
class Item:
    """What becomes of one thing, and why."""

    resource: HubResource
    verdict: SetupVerdict
    why: str = ""
    differences: tuple[Difference, ...] = ()
    uncompared: tuple[str, ...] = ()
    """Secrets in it, by their names, that the hub gives nobody back: whether they are the right ones is unknown."""


@dataclass(frozen=True)
class HubPlan:
    """What would be done to all of them, in the order in which it would be."""

    items: tuple[Item, ...]

    def of(self, *verdicts: SetupVerdict) -> tuple[Item, ...]:
        """Those items alone."""
        return tuple(item for item in self.items if item.verdict in verdicts)

    @property
    def unknown(self) -> tuple[Item, ...]:
        """What nobody could look at."""
        return self.of(SetupVerdict.UNKNOWN)

    @property
    def differs(self) -> bool:
        """Whether the hub is not what is declared, as far as anybody could look."""
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
    """What a listing of all tells of one; None where it is not in it."""
    if resource.kind is Kind.AUDIT_HEADER:
        headers: Mapping[str, Fields] = answer.get("headers") or {}
        return headers.get(resource.name.lower())
    return answer.get(f"{resource.name}/")


def fields_of(kind: Kind, answer: Fields) -> Fields | None:
    """What the hub tells of a thing, as plainly as it is declared; None where that says that there is none."""
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
    return {**fields, **lives, **({"version": options["version"]} if "version" in options else {})}


def body_of(resource: HubResource, fields: Fields, *, anew: bool) -> dict[str, Any]:
    """What is sent to make it anew, or to change it."""
    if resource.kind not in FIXED or resource.kind is Kind.GROUP:
        return dict(fields)
    if not anew:
        return {name: value for name, value in fields.items() if name not in FIXED[resource.kind]}
    if resource.kind is Kind.TRANSIT_KEY:
        return {name: value for name, value in fields.items() if name != "deletion_allowed"}
    lives = {name: fields[name] for name in ("default_lease_ttl", MAX_LEASE_TTL) if name in fields}
    plain = {name: value for name, value in fields.items() if name not in lives and name != "version"}
    return plain | {"config": lives} | ({"options": {"version": fields["version"]}} if "version" in fields else {})


def plain_value(name: str, value: Any) -> Any:
    """A value as it is compared; what is empty is None, since the hub tells it now so and now so."""
    plain = _plain(name, value)
    return None if plain in ("", [], {}) else plain


def _plain(name: str, value: Any) -> Any:
    """A policy without what only people read, a list in an order where it has none."""
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
    """The fields of ``wanted`` that the hub has otherwise, or lacks."""
    return [
        Difference(name, present.get(name), value)
        for name, value in wanted.items()
        if plain_value(name, present.get(name)) != plain_value(name, value)
    ]
