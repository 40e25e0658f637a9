"""The ports of the hub: secrets in the KV v2 that is the system of record, Keyturn's state, and the engines it has."""

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
from keyturn.core.ports.engines import Authority, DatabaseEngine, Lessor
from keyturn.core.ports.grants import GrantsPort
from keyturn.core.ports.ledger import Signer
from keyturn.core.ports.managed_keys import ManagedKey
from keyturn.core.ports.own_login import OwnLogin
from keyturn.core.rights.hub_setup import SetupPort
from keyturn.core.sensitive import SecretFields

RESTORED_AT = "keyturn-restored"
"""Custom metadata of an entry that came from a backup: the version's number, and when that had been made (RFC 3339)."""
ROTATED_AT = "keyturn-rotated-at"
"""Custom metadata: when Keyturn last promoted, RFC 3339."""
EXPIRES_AT = "keyturn-expires-at"
"""Custom metadata: when CURRENT ends by itself, RFC 3339; empty where it does not."""
TOKEN = "keyturn-token"
"""Custom metadata: the rotation that promoted last."""
WANTED_AT = "keyturn-wanted-at"
"""Custom metadata: which rotation's credential an event asked to replace, and when: token, space, RFC 3339."""
SUSPECTED_AT = "keyturn-suspected-at"
"""Custom metadata: which rotation's credential may be known to others, and since when; written like WANTED_AT."""
RENEW_AT = "keyturn-renew-at"
"""Custom metadata: which rotation's credential is to be renewed from when on by whom an ACME server tells; written like
WANTED_AT."""
RENEWAL_ASKED_AT = "keyturn-renewal-asked-at"
"""Custom metadata: when that server was asked about it last; written like WANTED_AT."""

ENTRIES = "keyturn-entries"
"""Custom metadata: by which entry of which ledger each version was written, the newest first: `VERSION LEDGER NUMBER`
with semicolons between, as many as there is room for."""

METADATA_LIMIT = 512
"""Bytes that one value of custom metadata may have. Source: "KV secrets engine, version 2 (API)" of Vault."""

OVERTAKEN = "keyturn-overtaken"
"""Custom metadata: the newest version of a history that the hub has lost and that was recovered from, a number."""
PROVEN = "keyturn-proven"
"""Custom metadata: the version that counts though it came with a restore, and when that was (RFC 3339)."""


def metadata_moment(path: str, name: str, text: str) -> datetime | None:
    """What the custom metadata ``name`` of a secret holds; None where it is empty. Raises Invalid for no moment."""
    if not text:
        return None
    why = "is no moment with a time zone"
    with suppress(ValueError):
        if (at := datetime.fromisoformat(text)).tzinfo:
            # What never ends is said to end in 9999 (RFC 5280, part 4.1.2.5).
            if name == EXPIRES_AT or FIRST_YEAR < at.year < LAST_YEAR:
                return at
            why = f"tells of the year {at.year}"
    problem = f"its metadata {name} {why}: somebody has edited it, or a clock was wrong"
    hint = f"Write it anew, such as `vault kv metadata patch -custom-metadata={name}=2026-03-01T12:00:00Z`"
    raise Invalid("read", path, problem, f"{hint}, or leave it empty")


def entries_by_version(custom: Mapping[str, str]) -> dict[int, tuple[str, int]]:
    """For each version that the metadata tells of, the ledger's name and the number of the entry it was written by."""
    named: dict[int, tuple[str, int]] = {}
    for text in custom.get(ENTRIES, "").split(";"):
        version, _, place = text.strip().partition(" ")
        ledger, _, number = place.rpartition(" ")
        if version.isdecimal() and number.isdecimal() and ledger:
            named.setdefault(int(version[:18]), (ledger, int(number[:18])))
    return named


def with_entry(custom: Mapping[str, str], version: int, place: str) -> str:
    """The metadata's text once ``version`` is written by the entry at ``place``; the oldest fall out of it."""
    earlier = {old: f"{name} {number}" for old, (name, number) in entries_by_version(custom).items()}
    texts = [f"{old} {at}" for old, at in sorted({**earlier, version: place}.items(), reverse=True)]
    while len(texts) > 1 and len("; ".join(texts).encode()) > METADATA_LIMIT:
        texts.pop()
    return "; ".join(texts)


def overtaken(custom: Mapping[str, str]) -> int:
    """The newest version of a lost history that no longer counts, 0 where none was lost."""
    number = custom.get(OVERTAKEN, "")
    return int(number) if number.isdecimal() else 0


@dataclass(frozen=True)
class Identity:
    """Whom the hub takes the login in use for.

    ``entity_id`` is the same for all logins of one person or service, empty for a token that belongs to none;
    ``display_name`` is what the login method calls them, such as ``oidc-alice``; ``accessor`` names this login, and is
    no secret; ``path`` is where it was made, such as ``auth/oidc/oidc/callback``. ``role`` is the role or user that the
    method logged in, ``entity_name`` what the hub's administrators call the entity; each is empty where nobody tells.
    ``namespace`` is where the login was made, such as ``red/``; empty in the root namespace.
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
        """Where the login was made, from the hub's root namespace on: ``red/auth/oidc/oidc/callback``."""
        return f"{self.namespace}{self.path}"

    @property
    def name(self) -> str:
        """For people, short: ``userpass-ana``, ``approle keyturn-worker``."""
        shown = self.display_name or "unnamed login"
        return shown if not self.role or f"-{shown}".endswith(f"-{self.role}") else f"{shown} {self.role}"

    @property
    def words(self) -> str:
        """All of it: ``userpass-ana (entity ana 7f3a..., accessor 8609...)``."""
        entity = " ".join(filter(None, ("entity", self.entity_name, self.entity_id))) if self.entity_id else ""
        accessor = f"accessor {self.accessor}" if self.accessor else ""
        remark = ", ".join(filter(None, (entity, accessor)))
        return f"{self.name} ({remark})" if remark else self.name


@dataclass(frozen=True)
class HubSecret:
    """One version of a secret, with its values. ``custom`` is the secret's custom metadata.

    ``created_at`` is when the hub made it; None for one that was not read from there. ``previous`` is the version
    before, where copies give that beside it.
    """

    path: str
    version: int
    fields: SecretFields
    custom: Mapping[str, str] = field(default_factory=dict, compare=False)
    created_at: datetime | None = field(default=None, compare=False)
    previous: "HubSecret | None" = field(default=None, compare=False)

    def marked(self, name: str) -> datetime | None:
        """A moment in the custom metadata; None where it is absent or empty. Raises Invalid for what is none."""
        return metadata_moment(self.path, name, self.custom.get(name, ""))

    @property
    def made_at(self) -> datetime | None:
        """When it was first made, which for a version that came from a backup is before the hub wrote it anew. Raises
        Invalid where somebody has edited that.
        """
        number, _, at = self.custom.get(RESTORED_AT, "").partition(" ")
        first = metadata_moment(self.path, RESTORED_AT, at) if number == str(self.version) else None
        return first or self.created_at

    @property
    def info(self) -> "SecretInfo | None":
        """The same of the newest version as :meth:`Hub.describe` tells; None for one not read from the hub."""
        if self.created_at is None:
            return None
        newest = VersionInfo(self.version, self.created_at, VersionState.READABLE)
        return SecretInfo(self.path, self.version, (newest,), self.custom)


class VersionState(StrEnum):
    """What has become of one version's values."""

    READABLE = "readable"
    DELETED = "deleted"
    """Nobody can read them, and :meth:`Hub.undelete` gives them back: the credential in them may live."""
    DESTROYED = "destroyed"
    """They are gone for good, and nobody can look whose they were: the credential in them may live."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """What the hub tells of one version without its values.

    One that will be deleted by itself is READABLE until then.
    """

    version: int
    created_at: datetime
    state: VersionState

    @property
    def readable(self) -> bool:
        """Whether its values can be read: neither deleted nor destroyed."""
        return self.state is VersionState.READABLE


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What the hub tells of a secret without its values. ``version`` is the newest one's number."""

    path: str
    version: int
    versions: tuple[VersionInfo, ...]
    custom: Mapping[str, str]

    @property
    def newest(self) -> VersionInfo | None:
        """The newest version, whatever has become of it; None where there is none."""
        return self.versions[-1] if self.versions else None

    @property
    def served(self) -> bool:
        """Whether the newest version can be read: neither deleted nor destroyed."""
        return self.newest is not None and self.newest.readable

    @property
    def rotated_at(self) -> datetime | None:
        """When the newest version became CURRENT; None for a secret with no version yet."""
        return self.marked(ROTATED_AT) or (self.versions[-1].created_at if self.versions else None)

    def marked(self, name: str) -> datetime | None:
        """A moment in the custom metadata; None where it is absent or empty. Raises Invalid for what is none."""
        return metadata_moment(self.path, name, self.custom.get(name, ""))

    def asked(self, name: str) -> datetime | None:
        """The moment that WANTED_AT, SUSPECTED_AT or RENEW_AT says of the credential that is CURRENT; None where it is
        of none or another.
        """
        token, _, at = self.custom.get(name, "").partition(" ")
        return metadata_moment(self.path, name, at) if token == self.promoted_by else None

    @property
    def overtaken(self) -> int:
        """The newest version of a lost history that no longer counts, 0 where none was lost."""
        return overtaken(self.custom)

    @property
    def promoted_by(self) -> str:
        """The rotation that promoted CURRENT; ``-`` where none did."""
        return self.custom.get(TOKEN, "-")


@dataclass(frozen=True)
class State:
    """One entry of Keyturn's own state. ``age`` is in seconds, by the hub's clock alone."""

    data: dict[str, Any] = field(repr=False)
    version: int
    age: float


@dataclass(frozen=True)
class Right:
    """A capability (create, read, update, patch, delete, list, sudo) on a path of the hub, its mount first."""

    capability: str
    path: str


class Survey(dict[str, SecretInfo]):
    """What the hub tells of many secrets, by path. What is not there is absent only where :meth:`error` is None.

    ``unread`` says why a mount could not be read, by its name, and ``refused`` why a single secret could not.
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
        """Why nothing can be told of this secret; None where what stands here is all there is."""
        return self.refused.get(path) or self.unread.get(mount_of(path))


def survey(hub: "SecretsPort") -> Survey:
    """Every secret of all mounts; one mount that can't be read stops no other. Raises where none can be read."""
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
    """The secrets of the system of record, in its mount and others.

    Reads of what is absent give None. Writes are compare-and-set: ``cas`` is the version the writer saw last (0: there
    was none), and Conflict is raised when another write came between. ``mount`` and ``state_mount`` are where secrets
    and Keyturn's own state are, as :class:`Right` names them. For a path in a mount that is not among ``mounts``, and
    for what is no KV v2 mount, Invalid is raised.
    """

    mount: str
    state_mount: str

    @property
    def mounts(self) -> Mapping[str, str]:
        """The other KV mounts of secrets by their names, which stand before paths in them: `keyturn.core.mounts`."""

    def mounted(self, mounts: Mapping[str, str]) -> "Hub":
        """The same hub, over the same connections, with these other mounts. Raises Invalid where two are one."""

    def address(self, kind: str, path: str) -> str:
        """Where a secret is in the hub's API, its mount first; ``kind`` is data, metadata, delete or the like."""

    def read(self, path: str, version: int | None = None) -> HubSecret | None:
        """The newest version, or the one named; None when absent, deleted or destroyed: :meth:`describe` tells."""

    def describe(self, path: str) -> SecretInfo | None:
        """Versions and custom metadata of a secret, without values."""

    def describe_below(self, prefix: str = "") -> Iterator[SecretInfo]:
        """Every secret below ``prefix``, told through listings where the hub has detailed ones.

        By default all of the default mount; ``payments:`` are all of that other mount.
        """

    def describe_many(self, paths: Collection[str]) -> dict[str, SecretInfo]:
        """The same of these alone, in as few requests as the hub allows; what is absent is left out."""

    def write(self, path: str, fields: SecretFields, *, cas: int) -> int:
        """Write the whole secret and return its new version."""

    def patch_metadata(self, path: str, custom: Mapping[str, str | None]) -> None:
        """Lay ``custom`` over the secret's custom metadata; None removes a key, other keys stay."""

    def delete(self, path: str, versions: Collection[int]) -> None:
        """Let nobody read these versions until :meth:`undelete`. Absent, deleted and destroyed ones stay so."""

    def undelete(self, path: str, versions: Collection[int]) -> None:
        """Make what was deleted of these versions readable again. Absent and destroyed ones stay as they are."""

    def destroy(self, path: str, versions: Collection[int]) -> None:
        """Remove the values of these versions for good, deleted ones too. Absent and destroyed before are success."""

    def missing_capabilities(self, wanted: Collection["Right"]) -> list["Right"]:
        """Those of ``wanted`` that the login in use does not have, in their order."""

    def capabilities(self, paths: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """What the login in use may do at these paths: ``deny`` stands for nothing, ``root`` for everything."""

    def acl_policies(self) -> Mapping[str, str]:
        """The text of every policy, by name; not that of root. Raises Denied for a login that may not read them."""


class StatePort(Protocol):
    """Keyturn's own state in the hub, and what goes by the hub's word: its clock, fingerprints' key, who is logged in.

    Written as secrets are: Conflict is raised when another write came between.
    """

    def read_state(self, path: str) -> State | None:
        """An entry in Keyturn's own mount, which consumers can't read."""

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write such an entry and return its new version; only the newest version is kept. A deleted one is none."""

    def claim_state(self, path: str, data: Mapping[str, Any]) -> None:
        """Write such an entry where there never was one, for which a login needs ``create`` alone.

        Raises Conflict where there is one, or Denied, since this login may not change it.
        """

    def newest_states(self, prefix: str) -> Mapping[str, VersionInfo] | None:
        """The newest version of every entry below ``prefix``, by the path within it, told by listings alone.

        None where the hub has no listing that tells it, or this login may not see it, or there is none.
        """

    def list_state(self, prefix: str) -> Iterator[str]:
        """Every entry's path below ``prefix``, itself included in each path."""

    def delete_state(self, path: str) -> None:
        """Remove such an entry for good. Absent is success."""

    def list_folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below ``prefix``, told in one request; none where nothing is there."""

    def now(self) -> datetime:
        """The time by the hub's own clock, to the second: the same for all workers, whatever their clocks say."""

    def clock_ahead(self) -> timedelta | None:
        """How far the hub's clock is ahead of this machine's, to the second; None before the hub answered."""

    def fingerprint_keys(self, *, fresh: bool = False) -> FingerprintKeys:
        """The keys of all fingerprints, asked for again after a minute, or at once; made at the first call."""

    def identity(self) -> Identity:
        """Whom the hub takes the login in use for, asked once for each login. Raises Denied where it may not ask."""

    def own_login(self) -> OwnLogin | None:
        """The AppRole that is logged in with; None for any other login. Raises as :meth:`identity` does."""


class EnginesPort(Lessor, Protocol):
    """What the hub makes and signs by itself, and the leases of what it has made."""

    def leases(self, prefix: str) -> list[str]:
        """The ids of all leases below ``prefix``, such as ``database/creds/ml-reader``; none is no error."""

    def signer(self, key: str) -> Signer:
        """The Ed25519 key of that name in the transit engine, which never leaves the hub. Raises NotFound, Denied."""

    def transit_key(self, key: str) -> ManagedKey:
        """The key of that name in the transit engine, to be managed. Raises Invalid for one of Keyturn's own."""

    def database(self, mount: str) -> DatabaseEngine:
        """Its database engine at ``mount``."""

    def grants(self) -> GrantsPort:
        """What access for a while needs of it."""

    def issued_tokens(self, role: str) -> list[IssuedToken]:
        """Every living token of the lease or the grant token role, recorded or not. Raises Denied."""

    def authority(self, mount: str, role: str, issuer: str | None = None) -> Authority:
        """A role of its PKI engine at ``mount``; ``issuer`` is the name or id of another one than the role's own.

        Raises Invalid where what works with certificates is not installed.
        """

    def setup(self) -> SetupPort:
        """What tells how the hub itself is set up, and sets it up."""

    def content(self) -> HubContent:
        """All that it holds for Keyturn, as it lies there, for backups."""

    def pki(self, mount: str) -> PkiEngine:
        """The content of its PKI engine at ``mount``. Raises Invalid where what reads certificates is not installed."""


class Hub(SecretsPort, StatePort, EnginesPort, Protocol):
    """The system of record: all three ports. One instance serves many threads.

    Whoever needs one of them asks for that one alone.
    """

    @property
    def peer(self) -> "Peer | None":
        """The other hub of two; None where this process is told of one alone."""

    def write_epoch(self, data: Mapping[str, Any], *, cas: int) -> int:
        """Say in this hub which of two is written, whichever that is now. Raises Conflict, and Denied: few may."""

    def cluster(self) -> str:
        """The id of the cluster that serves it. One that was made from a snapshot of another has the other's."""


@dataclass(frozen=True)
class KeyOpening:
    """What the adapter of a key is opened with, beside its settings."""

    name: str
    engines: EnginesPort = field(repr=False)


class AskedHub(Protocol):
    """What is asked of either hub."""

    def read_state(self, path: str) -> State | None:
        """An entry of Keyturn's own mount."""

    def cluster(self) -> str:
        """The id of the cluster that serves it. One that was made from a snapshot of another has the other's."""

    def grants(self) -> GrantsPort:
        """What wraps."""


@dataclass(frozen=True)
class Peer:
    """The other hub of two, as this process is told of it: ``own`` and ``name`` are what the two are called.

    ``addresses`` are where it reaches the two, by these names; ``lease`` is in seconds.
    """

    own: str
    name: str
    hub: AskedHub
    addresses: Mapping[str, str]
    lease: float | None = None
