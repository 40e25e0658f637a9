"""The ports of the hub: KV v2 secrets, Keyturn's own state, and the hub's engines."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from keyturn.core.clocks import FIRST_YEAR, LAST_YEAR
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.fingerprint_keys import FingerprintKeys
from keyturn.core.issued_tokens import IssuedToken
from keyturn.core.mounts import join, mount_of
from keyturn.core.ports.authorities import PkiEngine
from keyturn.core.ports.backups import HubContent
from keyturn.core.ports.engines import LEASES, STATIC_ROLES, Authority, DatabaseEngine, LeaseShape, Lessor, StaticShape
from keyturn.core.ports.grants import GrantsPort
from keyturn.core.ports.ledger import Signer
from keyturn.core.ports.managed_keys import ManagedKey
from keyturn.core.ports.own_login import OwnLogin
from keyturn.core.rights.hub_setup import SetupPort
from keyturn.core.sensitive import SecretFields

RESTORED_AT = "keyturn-restored"
"""Metadata of a restored entry: version number and original creation time (RFC 3339)."""
ROTATED_AT = "keyturn-rotated-at"
"""Metadata: last promotion, RFC 3339."""
EXPIRES_AT = "keyturn-expires-at"
"""Metadata: expiry of CURRENT, RFC 3339; empty if none."""
TOKEN = "keyturn-token"
"""Metadata: the rotation that promoted last."""
WANTED_AT = "keyturn-wanted-at"
"""Metadata: the rotation whose credential an event asked to replace, and when: token, space, RFC 3339."""
SUSPECTED_AT = "keyturn-suspected-at"
"""Metadata: the rotation whose credential may be exposed, and since when; like WANTED_AT."""
RENEW_AT = "keyturn-renew-at"
"""Metadata: the rotation whose certificate an ACME server wants renewed, and from when; like WANTED_AT."""
RENEWAL_ASKED_AT = "keyturn-renewal-asked-at"
"""Metadata: last query to that server; like WANTED_AT."""

ENTRIES = "keyturn-entries"
"""Metadata: ledger entries of the versions, newest first: `VERSION LEDGER NUMBER`, separated by semicolons, as many as
possible.
"""

METADATA_LIMIT = 512
"""Bytes of one metadata value. Source: "KV secrets engine, version 2 (API)" of Vault."""

OVERTAKEN = "keyturn-overtaken"
"""Metadata: newest version number of a lost history that was recovered from."""
PROVEN = "keyturn-proven"
"""Metadata: the restored version that counts nevertheless, and the time of the restore (RFC 3339)."""


def metadata_moment(path: str, name: str, text: str) -> datetime | None:
    """The time in custom metadata ``name``; None if empty. Raises Invalid for a malformed time."""
    if not text:
        return None
    why = "is no moment with a time zone"
    with suppress(ValueError):
        if (at := datetime.fromisoformat(text)).tzinfo:
            # A credential without an end has the year 9999 as its expiry (RFC 5280, part 4.1.2.5).
            if name == EXPIRES_AT or FIRST_YEAR < at.year < LAST_YEAR:
                return at
            why = f"names the year {at.year}"
    problem = f"its metadata {name} {why}: it was edited by hand, or a clock was wrong"
    hint = f"Write it again, such as `vault kv metadata patch -custom-metadata={name}=2026-03-01T12:00:00Z`"
    raise Invalid("read", path, problem, f"{hint}, or leave it empty")


def entries_by_version(custom: Mapping[str, str]) -> dict[int, tuple[str, int]]:
    """Ledger name and entry number of each version in the metadata."""
    named: dict[int, tuple[str, int]] = {}
    for text in custom.get(ENTRIES, "").split(";"):
        version, _, place = text.strip().partition(" ")
        ledger, _, number = place.rpartition(" ")
        if version.isdecimal() and number.isdecimal() and ledger:
            named.setdefault(int(version[:18]), (ledger, int(number[:18])))
    return named


def with_entry(custom: Mapping[str, str], version: int, place: str) -> str:
    """The ENTRIES text including ``version``, without the oldest beyond METADATA_LIMIT."""
    earlier = {old: f"{name} {number}" for old, (name, number) in entries_by_version(custom).items()}
    texts = [f"{old} {at}" for old, at in sorted({**earlier, version: place}.items(), reverse=True)]
    while len(texts) > 1 and len("; ".join(texts).encode()) > METADATA_LIMIT:
        texts.pop()
    return "; ".join(texts)


def overtaken(custom: Mapping[str, str]) -> int:
    """The newest version of a lost history, 0 if none was lost."""
    number = custom.get(OVERTAKEN, "")
    return int(number) if number.isdecimal() else 0


@dataclass(frozen=True)
class Identity:
    """The hub's identity of the login in use.

    ``entity_id`` is the same for all logins of one person or service, empty without an entity. ``display_name`` comes
    from the login method, such as ``oidc-alice``. ``accessor`` names this login and is not secret. ``path`` is such as
    ``auth/oidc/oidc/callback``. ``role`` is the role or user, ``entity_name`` the administrators' name; each is empty
    if unknown. ``namespace`` is such as ``red/``, empty for the root.
    """

    display_name: str
    entity_id: str
    accessor: str
    path: str
    role: str = ""
    entity_name: str = ""
    namespace: str = ""

    @property
    def login(self) -> str:
        """The login path from the root namespace: ``red/auth/oidc/oidc/callback``."""
        return f"{self.namespace}{self.path}"

    @property
    def name(self) -> str:
        """A short name for people: ``userpass-ana``, ``approle keyturn-worker``."""
        shown = self.display_name or "unnamed login"
        return shown if not self.role or f"-{shown}".endswith(f"-{self.role}") else f"{shown} {self.role}"

    @property
    def words(self) -> str:
        """The full description: ``userpass-ana (entity ana 7f3a..., accessor 8609...)``."""
        entity = " ".join(filter(None, ("entity", self.entity_name, self.entity_id))) if self.entity_id else ""
        accessor = f"accessor {self.accessor}" if self.accessor else ""
        remark = ", ".join(filter(None, (entity, accessor)))
        return f"{self.name} ({remark})" if remark else self.name


@dataclass(frozen=True)
class HubSecret:
    """One version of a secret, with values.

    ``custom`` is the secret's metadata. ``created_at`` is None if not read from the hub. ``previous`` is the version
    before, if copies contain it.
    """

    path: str
    version: int
    fields: SecretFields
    custom: Mapping[str, str] = field(default_factory=dict, compare=False)
    created_at: datetime | None = field(default=None, compare=False)
    previous: "HubSecret | None" = field(default=None, compare=False)

    def marked(self, name: str) -> datetime | None:
        """A time in the metadata, or None. Raises Invalid for a malformed one."""
        return metadata_moment(self.path, name, self.custom.get(name, ""))

    @property
    def made_at(self) -> datetime | None:
        """Its original creation time, before any restore. Raises Invalid for malformed metadata."""
        number, _, at = self.custom.get(RESTORED_AT, "").partition(" ")
        first = metadata_moment(self.path, RESTORED_AT, at) if number == str(self.version) else None
        return first or self.created_at

    @property
    def info(self) -> "SecretInfo | None":
        """Its :meth:`Hub.describe` result; None if not read from the hub."""
        if self.created_at is None:
            return None
        newest = VersionInfo(self.version, self.created_at, VersionState.READABLE)
        return SecretInfo(self.path, self.version, (newest,), self.custom)


class VersionState(StrEnum):
    """State of a version's values."""

    READABLE = "readable"
    DELETED = "deleted"
    """Unreadable until :meth:`Hub.undelete`; the credential may still work."""
    DESTROYED = "destroyed"
    """Gone permanently; the credential may still work."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version without its values.

    READABLE also while scheduled for deletion.
    """

    version: int
    created_at: datetime
    state: VersionState

    @property
    def readable(self) -> bool:
        """Whether its values can be read."""
        return self.state is VersionState.READABLE


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """A secret without its values. ``version`` is the newest number."""

    path: str
    version: int
    versions: tuple[VersionInfo, ...]
    custom: Mapping[str, str]

    @property
    def newest(self) -> VersionInfo | None:
        """The newest version in any state; None if there is none."""
        return self.versions[-1] if self.versions else None

    @property
    def served(self) -> bool:
        """Whether the newest version can be read."""
        return self.newest is not None and self.newest.readable

    @property
    def rotated_at(self) -> datetime | None:
        """When the newest version became CURRENT; None without versions."""
        return self.marked(ROTATED_AT) or (self.versions[-1].created_at if self.versions else None)

    def marked(self, name: str) -> datetime | None:
        """A time in the metadata, or None. Raises Invalid for a malformed one."""
        return metadata_moment(self.path, name, self.custom.get(name, ""))

    def asked(self, name: str) -> datetime | None:
        """The time in WANTED_AT, SUSPECTED_AT or RENEW_AT if it refers to CURRENT, else None."""
        token, _, at = self.custom.get(name, "").partition(" ")
        return metadata_moment(self.path, name, at) if token == self.promoted_by else None

    @property
    def overtaken(self) -> int:
        """The newest version of a lost history, 0 if none was lost."""
        return overtaken(self.custom)

    @property
    def promoted_by(self) -> str:
        """The rotation that promoted CURRENT; ``-`` if none did."""
        return self.custom.get(TOKEN, "-")


@dataclass(frozen=True)
class State:
    """One entry of Keyturn's state. ``age`` is in seconds, by the hub's clock alone."""

    data: dict[str, Any] = field(repr=False)
    version: int
    age: float


@dataclass(frozen=True)
class Right:
    """A capability (create, read, update, patch, delete, list, sudo) on a hub path including its mount."""

    capability: str
    path: str


class Survey(dict[str, SecretInfo]):
    """Many secrets by path. A missing one is absent only if :meth:`error` is None.

    ``unread`` has errors by mount, ``refused`` by secret.
    """

    def __init__(
        self,
        infos: Mapping[str, SecretInfo] | None = None,
        unread: Mapping[str, KeyturnError] | None = None,
        refused: Mapping[str, KeyturnError] | None = None,
    ) -> None:
        super().__init__(infos or {})
        self.unread = dict(unread or {})
        self.refused = dict(refused or {})

    def error(self, path: str) -> KeyturnError | None:
        """Return why the secret's state is unknown; None if it is known."""
        return self.refused.get(path) or self.unread.get(mount_of(path))


def survey(hub: "SecretsPort") -> Survey:
    """Every secret of all readable mounts. Raises if no mount can be read."""
    infos, unread = dict[str, SecretInfo](), dict[str, KeyturnError]()
    for mount in ("", *hub.mounts):
        try:
            infos |= {info.path: info for info in hub.describe_below(join(mount, ""))}
        except KeyturnError as error:
            unread[mount] = error
    if len(unread) > len(hub.mounts):
        raise next(iter(unread.values()))
    return Survey(infos, unread)


class SecretsPort(Protocol):
    """The secrets of the system of record.

    Reading an absent secret returns None. Writes are compare-and-set: ``cas`` is the version last seen (0: none);
    raises Conflict after another write. Raises Invalid for a mount not in ``mounts`` or not KV v2.
    """

    mount: str
    state_mount: str

    @property
    def mounts(self) -> Mapping[str, str]:
        """Other KV mounts by the names that prefix their paths: `keyturn.core.mounts`."""

    def mounted(self, mounts: Mapping[str, str]) -> "Hub":
        """The same hub and connections with other mounts. Raises Invalid for duplicates."""

    def address(self, kind: str, path: str) -> str:
        """The API path of a secret with its mount; ``kind`` is data, metadata, delete or similar."""

    def read(self, path: str, version: int | None = None) -> HubSecret | None:
        """The newest or given version; None if absent, deleted or destroyed (see :meth:`describe`)."""

    def describe(self, path: str) -> SecretInfo | None:
        """A secret's versions and custom metadata, without values."""

    def describe_below(self, prefix: str = "") -> Iterator[SecretInfo]:
        """Every secret below ``prefix``, through detailed listings if supported.

        By default the whole default mount; ``payments:`` is all of another one.
        """

    def describe_many(self, paths: Collection[str]) -> dict[str, SecretInfo]:
        """These secrets, in as few requests as possible, without absent ones."""

    def write(self, path: str, fields: SecretFields, *, cas: int) -> int:
        """Write the whole secret and return its new version."""

    def patch_metadata(self, path: str, custom: Mapping[str, str | None]) -> None:
        """Merge ``custom`` into the secret's custom metadata; None removes a key."""

    def delete(self, path: str, versions: Collection[int]) -> None:
        """Make these versions unreadable until :meth:`undelete`; skips absent, deleted and destroyed ones."""

    def undelete(self, path: str, versions: Collection[int]) -> None:
        """Make deleted versions readable again; skips absent and destroyed ones."""

    def destroy(self, path: str, versions: Collection[int]) -> None:
        """Remove these versions' values permanently, even deleted ones. Absent or destroyed is success."""

    def missing_capabilities(self, wanted: Collection["Right"]) -> list["Right"]:
        """The rights in ``wanted`` that the login lacks, in order."""

    def capabilities(self, paths: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The login's capabilities at these paths: ``deny`` means none, ``root`` all."""

    def acl_policies(self) -> Mapping[str, str]:
        """Every policy text except root's, by name. Raises Denied."""


class StatePort(Protocol):
    """Keyturn's state in the hub, the hub's clock, fingerprint keys and the login.

    Writes are compare-and-set; raises Conflict after another write.
    """

    def read_state(self, path: str) -> State | None:
        """Return an entry of Keyturn's mount, which consumers can't read."""

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write an entry and return its version; only the newest is kept. A deleted entry counts as absent."""

    def claim_state(self, path: str, data: Mapping[str, Any]) -> None:
        """Create an entry that never existed, which requires only ``create``.

        Raises Conflict if it exists, or Denied since this login may not change it.
        """

    def newest_states(self, prefix: str) -> Mapping[str, VersionInfo] | None:
        """The newest version of every entry below ``prefix`` by relative path, from listings.

        None if unsupported, not permitted or absent.
        """

    def list_state(self, prefix: str) -> Iterator[str]:
        """Iterate over the paths of all entries below ``prefix``, including the prefix."""

    def delete_state(self, path: str) -> None:
        """Remove an entry permanently. Absent is success."""

    def list_folders(self, prefix: str) -> list[str]:
        """Folder names directly below ``prefix``, in one request."""

    def now(self) -> datetime:
        """The hub's time in whole seconds, the same for all workers."""

    def clock_ahead(self) -> timedelta | None:
        """How far the hub's clock is ahead of this machine's, in whole seconds; None before any answer."""

    def fingerprint_keys(self, *, fresh: bool = False) -> FingerprintKeys:
        """All fingerprint keys, cached for a minute unless ``fresh``; the first call creates them."""

    def identity(self) -> Identity:
        """The hub's identity for the login, queried once per login. Raises Denied."""

    def own_login(self) -> OwnLogin | None:
        """The AppRole in use; None for any other login. Raises like :meth:`identity`."""


class EnginesPort(Lessor, Protocol):
    """The hub's engines: what they issue and sign, and the leases."""

    def leases(self, prefix: str) -> list[str]:
        """The ids of all leases below ``prefix``, such as ``database/creds/ml-reader``."""

    def signer(self, key: str) -> Signer:
        """A transit Ed25519 key, which never leaves the hub. Raises NotFound, Denied."""

    def transit_key(self, key: str) -> ManagedKey:
        """A transit key to manage. Raises Invalid for Keyturn's own keys."""

    def database(self, mount: str, leases: LeaseShape = LEASES, static: StaticShape = STATIC_ROLES) -> DatabaseEngine:
        """The database engine at ``mount``, or an engine of another shape."""

    def grants(self) -> GrantsPort:
        """The port for temporary access."""

    def issued_tokens(self, role: str) -> list[IssuedToken]:
        """Every live token of the lease or grant token role, recorded or not. Raises Denied."""

    def authority(self, mount: str, role: str, issuer: str | None = None) -> Authority:
        """A role of the PKI engine at ``mount``; ``issuer`` (name or id) overrides the role's.

        Raises Invalid without certificate support.
        """

    def setup(self) -> SetupPort:
        """The port for the hub's own set-up."""

    def content(self) -> HubContent:
        """Everything the hub stores for Keyturn, for backups."""

    def pki(self, mount: str) -> PkiEngine:
        """The PKI engine at ``mount``. Raises Invalid without certificate support."""


class Hub(SecretsPort, StatePort, EnginesPort, Protocol):
    """The system of record: all three ports. Serves many threads.

    Depend on a single port where one is enough.
    """

    @property
    def peer(self) -> "Peer | None":
        """The other hub of a pair; None if only one is configured."""

    def write_epoch(self, data: Mapping[str, Any], *, cas: int) -> int:
        """Record which hub of the pair is written to. Raises Conflict, and Denied for most logins."""

    def cluster(self) -> str:
        """The cluster's id, the same in a cluster restored from another's snapshot."""


@dataclass(frozen=True)
class KeyOpening:
    """Arguments for opening a key's adapter, in addition to its settings."""

    name: str
    engines: EnginesPort = field(repr=False)


class AskedHub(Protocol):
    """The calls used on either hub."""

    def read_state(self, path: str) -> State | None:
        """An entry of Keyturn's mount."""

    def cluster(self) -> str:
        """The cluster's id, the same in a cluster restored from another's snapshot."""

    def grants(self) -> GrantsPort:
        """The port that wraps values."""


@dataclass(frozen=True)
class Peer:
    """The other hub of a pair; ``own`` and ``name`` are the two names.

    ``addresses`` are by these names. ``lease`` is in seconds.
    """

    own: str
    name: str
    hub: AskedHub
    addresses: Mapping[str, str]
    lease: float | None = None
