"""The hub over hvac: KV v2 for secrets, a KV v2 mount of Keyturn's own for its state, and database leases."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import hvac
import requests
from hvac import exceptions as vault

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.hub import HubSecret, Lease, SecretInfo, State, VersionInfo
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.vault_login import HubSettings, Session

FINGERPRINT_KEY = "fingerprint-key"

T = TypeVar("T")


class VaultHub:
    """A :class:`keyturn.core.hub.Hub` on Vault 1.12 or newer, or OpenBao 2."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self._session = Session(settings)
        self._fingerprint_key: Sensitive | None = None

    def read(self, path: str, version: int | None = None) -> HubSecret | None:
        """The newest version, or the one named; None when absent or deleted."""
        body = self._get(f"{self.settings.mount}/data/{path}", path, params={"version": version} if version else None)
        if body is None:
            return None
        return HubSecret(path, body["metadata"]["version"], SecretFields(body["data"]))

    def describe(self, path: str) -> SecretInfo | None:
        """Versions and custom metadata of a secret, without values."""
        body = self._get(f"{self.settings.mount}/metadata/{path}", path)
        if body is None:
            return None
        versions = tuple(_version(int(number), told) for number, told in body["versions"].items())
        ordered = tuple(sorted(versions, key=lambda v: v.version))
        return SecretInfo(path, body["current_version"], ordered, body["custom_metadata"] or {})

    def write(self, path: str, fields: SecretFields, *, cas: int) -> int:
        """Write the whole secret and return its new version. Raises Conflict when ``cas`` is not the newest."""
        return self._put(f"{self.settings.mount}/data/{path}", path, fields.reveal(), cas)

    def annotate(self, path: str, custom: Mapping[str, str]) -> None:
        """Lay ``custom`` over the secret's custom metadata; other keys stay."""
        self._call(
            "annotate",
            path,
            lambda client: client.adapter.request(
                "patch",
                f"/v1/{self.settings.mount}/metadata/{path}",
                headers={"Content-Type": "application/merge-patch+json"},
                json={"custom_metadata": dict(custom)},
            ),
        )

    def read_state(self, path: str) -> State | None:
        """An entry in Keyturn's own mount; its age is told by the hub's clock alone."""
        response = self._call("read", self._state_name(path), _getter(self._state_url("data", path)), absent=None)
        if response is None:
            return None
        body = response.json()["data"]
        now = parsedate_to_datetime(response.headers["Date"])
        age = (now - datetime.fromisoformat(body["metadata"]["created_time"])).total_seconds()
        return State(body["data"], body["metadata"]["version"], max(0.0, age))

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write such an entry; only the newest version is kept, so that no old candidate stays readable."""
        if cas == 0:
            self._call(
                "prepare", self._state_name(path), _poster(self._state_url("metadata", path), {"max_versions": 1})
            )
        return self._put(self._state_url("data", path), self._state_name(path), data, cas)

    def list_state(self, prefix: str) -> Iterator[str]:
        """Every entry's path below ``prefix``."""
        response = self._call(
            "list", self._state_name(prefix), _lister(self._state_url("metadata", prefix)), absent=None
        )
        for key in response.json()["data"]["keys"] if response is not None else ():
            if key.endswith("/"):
                yield from self.list_state(f"{prefix}/{key[:-1]}")
            else:
                yield f"{prefix}/{key}"

    def fingerprint_key(self) -> Sensitive:
        """The key of all fingerprints: 256 random bits, made at the first call on a new hub."""
        if self._fingerprint_key is None:
            self._fingerprint_key = self._read_fingerprint_key() or self._make_fingerprint_key()
        return self._fingerprint_key

    def issue(self, mount: str, role: str) -> Lease:
        """A new credential from the database engine; ``duration`` is no longer than the life of its token."""
        name = f"{mount}/creds/{role}"
        token, life = self._lease_token()
        body = self._call("issue", name, lambda client: _getter(name)(self._session.as_token(token or client.token)))
        told = body.json()
        duration = min(float(told["lease_duration"]), life or float("inf"))
        return Lease(told["lease_id"], SecretFields(told["data"]), duration)

    def revoke_lease(self, lease_id: str) -> None:
        """End a lease and what it gave, before this returns. Absent is success."""
        self._call("revoke", lease_id, _poster("sys/leases/revoke", {"lease_id": lease_id, "sync": True}))

    def leases(self, mount: str, role: str) -> list[str]:
        """The ids of a role's leases; the policy needs `list` and `sudo` on sys/leases/lookup."""
        prefix = f"{mount}/creds/{role}/"
        response = self._call("list", prefix, _lister(f"sys/leases/lookup/{prefix}"), absent=None)
        return [prefix + key for key in response.json()["data"]["keys"]] if response is not None else []

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def _lease_token(self) -> tuple[str | None, float]:
        """The token to ask for a lease with, None for our own, and its life in seconds, 0 where it never ends."""
        if self.settings.lease_token_role is None:
            own = self._call("look up", "the hub's login", _getter("auth/token/lookup-self")).json()["data"]
            return None, float(own["ttl"])
        name = f"auth/token/create/{self.settings.lease_token_role}"
        made = self._call("create", name, _poster(name, {})).json()["auth"]
        return made["client_token"], float(made["lease_duration"])

    def _read_fingerprint_key(self) -> Sensitive | None:
        state = self.read_state(FINGERPRINT_KEY)
        return Sensitive(state.data["key"]) if state else None

    def _make_fingerprint_key(self) -> Sensitive:
        key = secrets.token_hex(32)
        try:
            self.write_state(FINGERPRINT_KEY, {"key": key}, cas=0)
        except Conflict:
            return self._read_fingerprint_key() or self._make_fingerprint_key()  # another worker made it
        return Sensitive(key)

    def _state_url(self, kind: str, path: str) -> str:
        return f"{self.settings.state_mount}/{kind}/{path}"

    def _state_name(self, path: str) -> str:
        return f"{self.settings.state_mount}/{path}"

    def _get(self, url: str, name: str, params: Mapping[str, Any] | None = None) -> Any:
        response = self._call("read", name, _getter(url, params), absent=None)
        return None if response is None else response.json()["data"]

    def _put(self, url: str, name: str, data: Mapping[str, Any], cas: int) -> int:
        response = self._call("write", name, _poster(url, {"options": {"cas": cas}, "data": dict(data)}))
        return int(response.json()["data"]["version"])

    def _call(self, doing: str, name: str, request: Callable[[hvac.Client], T], **absent: None) -> T | Any:
        """Run ``request``, logging in anew once where the token was ended; errors become Keyturn's own."""
        try:
            try:
                return request(self._session.client())
            except vault.Forbidden:
                if not self._session.login_again():
                    raise
                return request(self._session.client())
        except vault.InvalidPath:
            if "absent" in absent:
                return None
            raise NotFound(doing, name, "the hub has nothing there", "Check the path and the mount") from None
        except (vault.VaultError, requests.RequestException) as error:
            raise from_vault(error, doing, name) from None


def _getter(path: str, params: Mapping[str, Any] | None = None) -> Callable[[hvac.Client], requests.Response]:
    return lambda client: client.adapter.request("get", f"/v1/{path}", params=params)


def _poster(path: str, body: Mapping[str, Any]) -> Callable[[hvac.Client], requests.Response]:
    return lambda client: client.adapter.request("post", f"/v1/{path}", json=body)


def _lister(path: str) -> Callable[[hvac.Client], requests.Response]:
    return lambda client: client.adapter.request("list", f"/v1/{path}")


def _version(number: int, told: Mapping[str, Any]) -> VersionInfo:
    deleted = bool(told["deletion_time"]) and datetime.fromisoformat(told["deletion_time"]) <= datetime.now(UTC)
    return VersionInfo(number, datetime.fromisoformat(told["created_time"]), not (deleted or told["destroyed"]))


def from_vault(error: Exception, doing: str, name: str) -> KeyturnError:
    """The hub's refusal in our words; the response's body is read for its kind and then dropped."""
    match error:
        case vault.InvalidRequest() if "check-and-set" in str(error.args):
            return Conflict(doing, name, "another write came first", "Run it again: it goes on from what is there now")
        case vault.InvalidRequest():
            return Invalid(doing, name, "the hub refuses the request as malformed", "Check the path, mount and role")
        case vault.Forbidden() | vault.Unauthorized():
            hint = "Give this identity's policy the path (see deployments/policies), or renew its login"
            return Denied(doing, name, "the hub denies it", hint)
        case vault.RateLimitExceeded():
            return Throttled(doing, name, "the hub asks for a slower pace", "It is tried again by itself")
        case vault.VaultDown() | vault.VaultNotInitialized():
            return Unavailable(doing, name, "the hub is sealed or not active", "Unseal it, or wait for the fail-over")
        case requests.exceptions.SSLError():
            return Denied(doing, name, "the hub's certificate is not trusted", "Set VAULT_CACERT to its CA file")
        case requests.RequestException():
            return Unavailable(doing, name, "the hub does not answer", "Check VAULT_ADDR and that the hub runs")
        case _:
            return Unavailable(
                doing, name, "the hub failed inside", "See the hub's own log; it is tried again by itself"
            )
