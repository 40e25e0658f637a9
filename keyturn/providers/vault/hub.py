"""The hub over hvac: KV v2 mounts for secrets, one for Keyturn's own state, and the hub's engines."""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid, NotFound, Unavailable
from keyturn.core.fingerprint_keys import FingerprintKeys
from keyturn.core.issued_tokens import GRANT_TOKENS, LEASE_TOKENS, IssuedToken
from keyturn.core.ports.authorities import PkiEngine
from keyturn.core.ports.backups import STATE, area_of
from keyturn.core.ports.engines import LEASES, STATIC_ROLES, Authority, IssuedLease, LeaseShape, StaticShape
from keyturn.core.ports.failover import EPOCH
from keyturn.core.ports.hub import HubSecret, Identity, Peer, Right, SecretInfo, State, VersionInfo
from keyturn.core.ports.own_login import OwnLogin
from keyturn.core.rights.rights import LEASE_TOKEN_ROLE, holds
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.precise_json import changed
from keyturn.providers.answers import reads_answers
from keyturn.providers.extras import needing
from keyturn.providers.vault.capabilities import acl_policies, capabilities_at
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.content import VaultContent
from keyturn.providers.vault.engines.database import VaultDatabase
from keyturn.providers.vault.engines.issued_tokens import IssuedTokens
from keyturn.providers.vault.engines.leases import issue_lease, leases_below, renew_lease, revoke_lease
from keyturn.providers.vault.engines.transit_keys import TransitKey
from keyturn.providers.vault.engines.transit_signer import VaultSigner
from keyturn.providers.vault.fence import Fence
from keyturn.providers.vault.fingerprint_keys import HubKeys
from keyturn.providers.vault.grants import VaultGrants
from keyturn.providers.vault.identity import identify
from keyturn.providers.vault.listing import VaultListing
from keyturn.providers.vault.mounts import KvMounts, insist_on_apart
from keyturn.providers.vault.own_login import VaultOwnLogin
from keyturn.providers.vault.setup import VaultSetup
from keyturn.providers.vault.store_versions import version_state
from keyturn.settings.hub import FailoverSettings, HubSettings
from keyturn.settings.hub_login import AppRoleLogin

THREADS: Final = 16


@reads_answers("the hub")
class VaultHub:
    """A :class:`keyturn.core.ports.hub.Hub` on Vault 1.12 or newer, or OpenBao 2."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self.mount, self.state_mount = settings.mount, settings.state_mount
        self._calls = Calls(settings)
        self._fence: Fence | None = None
        self._peer: VaultHub | None = None
        if settings.failover:
            self._fence, self._peer = self._fenced(settings.failover)
        self._kv = KvMounts(self._calls, settings.mount, {})
        self._fingerprint_keys = HubKeys(self, settings.state_mount, self._newest_state, self._calls.now)
        self._identified: tuple[object, Identity] | None = None

    @property
    def mounts(self) -> Mapping[str, str]:
        return self._kv.others

    def mounted(self, mounts: Mapping[str, str]) -> "VaultHub":
        """Raises Invalid if two mounts share a path."""
        insist_on_apart(self.mount, self.state_mount, mounts)
        made = copy.copy(self)
        made._kv = KvMounts(self._calls, self.mount, mounts)
        return made

    def address(self, kind: str, path: str) -> str:
        mount, within = self._kv.look_at(path)
        return mount.url(kind, within)

    def read(self, path: str, version: int | None = None) -> HubSecret | None:
        body = self._look("data", path, {"version": version} if version else None)
        if body is None:
            return None
        return HubSecret(
            path,
            _number(body["metadata"]["version"]),
            SecretFields(body["data"]),
            body["metadata"]["custom_metadata"] or {},
            datetime.fromisoformat(body["metadata"]["created_time"]),
        )

    def read_many(self, paths: Sequence[str]) -> dict[str, HubSecret]:
        unique = list(dict.fromkeys(paths))
        with ThreadPoolExecutor(THREADS) as pool:
            secrets = zip(unique, pool.map(self.read, unique), strict=True)
            return {path: secret for path, secret in secrets if secret is not None}

    def describe(self, path: str) -> SecretInfo | None:
        body = self._look("metadata", path)
        return None if body is None else _info(path, body)

    def describe_below(self, prefix: str = "") -> Iterator[SecretInfo]:
        return (_info(path, metadata) for path, metadata in self._kv.below(prefix))

    def describe_many(self, paths: Collection[str]) -> dict[str, SecretInfo]:
        return {path: _info(path, metadata) for path, metadata in self._kv.of(paths).items()}

    def write(self, path: str, fields: SecretFields, *, cas: int) -> int:
        """Raises Invalid, and writes nothing, for a value that the hub would not return unchanged."""
        return self._put(self._address("data", path), path, fields.reveal(), cas)

    def patch_metadata(self, path: str, custom: Mapping[str, str | None]) -> None:
        self.insist_writable("annotate", path)
        body = {"custom_metadata": dict(custom)}
        self._calls.patch("annotate", path, self._address("metadata", path), body)

    def read_state(self, path: str) -> State | None:
        response = self._calls.find("read", self._state_name(path), self._state_url("data", path))
        if response is None:
            return None
        body = response.json()["data"]
        now = parsedate_to_datetime(response.headers["Date"])
        age = (now - datetime.fromisoformat(body["metadata"]["created_time"])).total_seconds()
        return State(body["data"], body["metadata"]["version"], max(0.0, age))

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """The hub keeps only the newest version, so no old candidate stays readable.

        ``cas`` 0 also writes an entry that was deleted; its version numbers continue.
        """
        try:
            return self._create_state(path, data) if cas == 0 else self._put_state(path, data, cas)
        except Conflict:
            newest = None if cas else self._newest_state(path)
            if newest is None or newest.readable:
                raise
            return self._put_state(path, data, newest.version)

    def claim_state(self, path: str, data: Mapping[str, Any]) -> None:
        """Write an entry that never existed, in one request. Raises Conflict otherwise."""
        self._put_state(path, data, 0)

    def newest_states(self, prefix: str) -> Mapping[str, VersionInfo] | None:
        """None on Vault, whose listings hold only names."""
        return VaultListing(self._calls, self.state_mount, self._state_name(prefix)).metadata_below(prefix, _newest)

    def list_state(self, prefix: str) -> Iterator[str]:
        for key in self._calls.list(self._state_name(prefix), self._state_url("metadata", prefix)):
            if key.endswith("/"):
                yield from self.list_state(f"{prefix}/{key[:-1]}")
            else:
                yield f"{prefix}/{key}"

    def delete_state(self, path: str) -> None:
        self.insist_writable("remove", self._state_name(path))
        self._calls.delete("remove", self._state_name(path), self._state_url("metadata", path))

    def list_folders(self, prefix: str) -> list[str]:
        names = self._calls.list(self._state_name(prefix), self._state_url("metadata", prefix))
        return [name.removesuffix("/") for name in names if name.endswith("/")]

    def now(self) -> datetime:
        if (at := self._calls.now()) is None:
            self.identity()
            at = self._calls.now()
        if at is None:
            hint = "Let the proxy before it pass the header Date on"
            raise Unavailable("ask for the time of", "the hub", "its answers contain none", hint)
        return at

    def clock_ahead(self) -> timedelta | None:
        at = self._calls.now()
        return at - datetime.now(UTC) if at else None

    def fingerprint_keys(self, *, fresh: bool = False) -> FingerprintKeys:
        return self._fingerprint_keys.get(fresh=fresh)

    def identity(self) -> Identity:
        login = self._calls.login()
        if self._identified is None or self._identified[0] is not login:
            self._identified = login, identify(self._calls)
        return self._identified[1]

    def own_login(self) -> OwnLogin | None:
        login = self.settings.login
        if not isinstance(login, AppRoleLogin) or not (role := self.identity().role):
            return None
        return VaultOwnLogin(self._calls, login, role)

    def delete(self, path: str, versions: Collection[int]) -> None:
        self._change("delete", path, versions)

    def undelete(self, path: str, versions: Collection[int]) -> None:
        self._change("undelete", path, versions)

    def destroy(self, path: str, versions: Collection[int]) -> None:
        self._change("destroy", path, versions)

    def _change(self, kind: str, path: str, versions: Collection[int]) -> None:
        if versions:
            self.insist_writable(kind, path)
            self._calls.post(kind, path, self._address(kind, path), {"versions": sorted(versions)})

    def missing_capabilities(self, wanted: Collection[Right]) -> list[Right]:
        held = self.capabilities([right.path for right in wanted])
        return [right for right in wanted if not holds(held[right.path], right.capability)]

    def capabilities(self, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        return capabilities_at(self._calls, paths)

    def acl_policies(self) -> dict[str, str]:
        return acl_policies(self._calls)

    def leases(self, prefix: str) -> list[str]:
        return leases_below(self._calls, prefix)

    def issue_lease(self, path: str) -> IssuedLease:
        return issue_lease(self._calls, path)

    def renew_lease(self, lease: IssuedLease, ttl: timedelta) -> IssuedLease:
        return renew_lease(self._calls, lease, ttl)

    def revoke_lease(self, lease_id: str) -> None:
        revoke_lease(self._calls, lease_id)

    def signer(self, key: str) -> VaultSigner:
        return VaultSigner(self._calls, self.settings.transit_mount, key)

    def transit_key(self, key: str) -> TransitKey:
        return TransitKey(self._calls, self.settings.transit_mount, key)

    def database(self, mount: str, leases: LeaseShape = LEASES, static: StaticShape = STATIC_ROLES) -> VaultDatabase:
        role, own_token = self.settings.lease_token_role or LEASE_TOKEN_ROLE, self.settings.lease_token_role is None
        tokens = self._tokens(role, LEASE_TOKENS)
        return VaultDatabase(self._calls, mount, tokens, leases, static, own_token=own_token)

    def grants(self) -> VaultGrants:
        return VaultGrants(self._calls, self._tokens(self.settings.grant_token_role, GRANT_TOKENS))

    def issued_tokens(self, role: str) -> list[IssuedToken]:
        folder = GRANT_TOKENS if role == self.settings.grant_token_role else LEASE_TOKENS
        return self._tokens(role, folder).all()

    def _tokens(self, role: str, folder: str) -> IssuedTokens:
        return IssuedTokens(self._calls, self, role, folder, self.settings.state_mount)

    def authority(self, mount: str, role: str, issuer: str | None = None) -> Authority:
        """A role of a PKI engine. Raises Invalid, naming the extra, without the package cryptography."""
        with needing("certificates", "open", mount):
            from keyturn.providers.vault.engines.pki import VaultAuthority
        return VaultAuthority(self._calls, mount, role, issuer)

    def pki(self, mount: str) -> PkiEngine:
        with needing("certificates", "open", mount):
            from keyturn.providers.vault.engines.pki_content import VaultPkiEngine
        return VaultPkiEngine(self._calls, mount)

    def content(self) -> VaultContent:
        mounts = {area_of(name): path for name, path in {"": self.mount, **self.mounts}.items()}
        areas = {STATE: self.state_mount, **mounts}
        return VaultContent(self._calls, self.settings.address, areas, self.settings.transit_mount)

    def setup(self) -> VaultSetup:
        return VaultSetup(self._calls, self)

    @property
    def peer(self) -> Peer | None:
        failover = self.settings.failover
        if failover is None or self._peer is None:
            return None
        lease = failover.lease.total_seconds() if failover.lease else None
        addresses = {failover.own: self.settings.address, failover.other: failover.peer.address}
        return Peer(failover.own, failover.other, self._peer, addresses, lease)

    def cluster(self) -> str:
        """The hub's cluster id, which needs no login to read."""
        answer = self._calls.get("look at", "the hub's cluster", "sys/seal-status")
        return str(answer.json().get("cluster_id", ""))

    def insist_writable(self, doing: str, name: str) -> None:
        if self._fence:
            self._fence.insist(doing, name)

    def write_epoch(self, data: Mapping[str, Any], *, cas: int) -> int:
        """Bypasses the fence. Raises Conflict."""
        fence, self._fence = self._fence, None
        try:
            return self.write_state(EPOCH, data, cas=cas)
        finally:
            self._fence = fence
            if fence:
                fence.forget()

    def close(self) -> None:
        self._calls.close()
        if self._peer:
            self._peer.close()

    def _fenced(self, failover: FailoverSettings) -> tuple[Fence, "VaultHub"]:
        peer = VaultHub(replace(failover.peer, failover=None))
        lease = failover.lease.total_seconds() if failover.lease else None
        read_there = partial(peer.read_state, EPOCH)
        read_here, names = partial(self.read_state, EPOCH), (failover.own, failover.other)
        return Fence(*names, read_here, read_there, lease, strict=failover.strict), peer

    def _create_state(self, path: str, data: Mapping[str, Any]) -> int:
        self.insist_writable("prepare", self._state_name(path))
        url = self._state_url("metadata", path)
        # Policies match parameter values only as text.
        try:
            self._calls.post("prepare", self._state_name(path), url, {"max_versions": "1"})
        except NotFound:
            raise self._no_mount("prepare", self._state_name(path), url) from None
        return self._put_state(path, data, 0)

    def _put_state(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        return self._put(self._state_url("data", path), self._state_name(path), data, cas)

    def _no_mount(self, doing: str, name: str, url: str) -> NotFound:
        state = url.startswith(f"{self.settings.state_mount}/")
        setting = "KEYTURN_HUB_STATE_MOUNT" if state else "KEYTURN_HUB_MOUNT or mounts in the catalogue"
        mount = url.partition("/data/")[0].partition("/metadata/")[0]
        hint = f"Run `keyturn setup hub --apply`, which makes it, or correct {setting}"
        return NotFound(doing, name, f"the hub has no mount {mount}", hint)

    def _newest_state(self, path: str) -> VersionInfo | None:
        body = self._get(self._state_url("metadata", path), self._state_name(path))
        return _info(path, body).newest if body else None

    def _address(self, kind: str, path: str) -> str:
        """Like :meth:`address`, for writes. Raises Invalid for an undeclared mount."""
        mount, within = self._kv.at(path)
        return mount.url(kind, within)

    def _look(self, kind: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
        mount, within = self._kv.look_at(path)
        body = self._get(mount.url(kind, within), path, params)
        if body is None:
            self._kv.absent(path, mount)
        return body

    def _state_url(self, kind: str, path: str) -> str:
        return f"{self.settings.state_mount}/{kind}/{path}"

    def _state_name(self, path: str) -> str:
        return f"{self.settings.state_mount}/{path}"

    def _get(self, url: str, name: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._calls.data("read", name, url, params)

    def _put(self, url: str, name: str, data: Mapping[str, Any], cas: int) -> int:
        if why := changed(dict(data)):
            hint = "Nothing was written. Write such a number or text as a separate text, in quotes or in base64"
            raise Invalid("write", name, why, hint)
        self.insist_writable("write", name)
        try:
            response = self._calls.post("write", name, url, {"options": {"cas": cas}, "data": dict(data)})
        except NotFound:
            raise self._no_mount("write", name, url) from None
        return int(response.json()["data"]["version"])


def _info(path: str, metadata: Mapping[str, Any]) -> SecretInfo:
    versions = (_version(int(number), version) for number, version in metadata["versions"].items())
    ordered = tuple(sorted(versions, key=lambda version: version.version))
    return SecretInfo(path, metadata["current_version"], ordered, metadata["custom_metadata"] or {})


def _number(version: object) -> int:
    if not isinstance(version, int) or version < 1:
        raise ValueError("it is no version's number")
    return version


def _newest(metadata: Mapping[str, Any]) -> VersionInfo | None:
    number = int(metadata["current_version"])
    # An entry without a version was only prepared.
    return _version(number, metadata["versions"][str(number)]) if number else None


def _version(number: int, metadata: Mapping[str, Any]) -> VersionInfo:
    return VersionInfo(number, datetime.fromisoformat(metadata["created_time"]), version_state(metadata))
