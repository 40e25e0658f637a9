"""Google Cloud Secret Manager as a store.

Ownership is the label ``keyturn-managed-by``, by which the listing filters; source, fingerprint and the number of
the version that Keyturn wrote last are annotations. Adding a version and annotating the secret are two calls, made
in that order: whatever a crash leaves between them looks stale, to :meth:`GcpSecretManager.find` and to the listing.

What the service can't do: a version that somebody else adds, disables or destroys leaves no trace on the secret, so
:meth:`GcpSecretManager.managed` can't see it and :meth:`GcpSecretManager.find` can; and deletion is final.
Quotas per project and minute: 90,000 accesses, 600 reads, 600 writes (source: "Quotas and limits").
"""

import ipaddress
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final, TypeVar

import grpc
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.cloud.secretmanager_v1.types import ListSecretsResponse, Secret, SecretVersion
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]

from keyturn.core import errors
from keyturn.core.names import GCP_SECRET_MANAGER, illegal_name, too_large
from keyturn.core.sensitive import Sensitive
from keyturn.core.stores import MANAGED_BY, TAG_FINGERPRINT, TAG_MANAGED_BY, TAG_SOURCE, TAG_VERSION, Copy, Marks

DEADLINE: Final = 10.0
"""Seconds that one call may take. The SDK's own retries are off: the flows retry."""
PAGE_SIZE: Final = 1000

_T = TypeVar("_T")

# At DEBUG the SDK's transport logs whole requests and answers, payloads included.
logging.getLogger(SecretManagerServiceGrpcTransport.__module__).addFilter(lambda record: record.levelno > logging.DEBUG)


_CRC32C: Final = tuple(reduce(lambda rest, _: rest >> 1 ^ 0x82F63B78 * (rest & 1), range(8), n) for n in range(256))


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) checksum that the service checks and gives (source: RFC 3720, B.4)."""
    table, remainder = _CRC32C, 0xFFFFFFFF
    for byte in data:
        remainder = table[(remainder ^ byte) & 0xFF] ^ remainder >> 8
    return remainder ^ 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class _Seen(Copy):
    """A copy together with what an update of its marks needs; it equals the plain :class:`Copy`."""

    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    etag: str = field(default="", repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Copy):
            return NotImplemented
        mine = (self.name, self.version_id, self.marks, self.intact)
        return mine == (other.name, other.version_id, other.marks, other.intact)

    __hash__ = Copy.__hash__


class GcpSecretManager:
    """The secrets of one project, as a :class:`keyturn.core.stores.Store`."""

    def __init__(self, name: str, *, project: str, endpoint: str | None = None) -> None:
        """Open it with application default credentials, or without any at ``endpoint``, a loopback host:port.

        Raises Denied without credentials, and Invalid for an endpoint that isn't loopback.
        """
        self.name = name
        self._project = f"projects/{project}"
        with self._translated("open"):
            transport = None if endpoint is None else _loopback_transport(endpoint, name)
            self._client = SecretManagerServiceClient(transport=transport)

    def find(self, remote: str) -> Copy | None:
        """Describe one secret in two calls at most; a disabled or destroyed latest version is not intact."""
        return self._look(remote, "find")

    def managed(self) -> Iterator[Copy]:
        """Every copy with Keyturn's marks, as it was written; what changed versions since, only ``find`` can tell."""
        ours = f"labels.{TAG_MANAGED_BY}={MANAGED_BY}"
        request = {"parent": self._project, "filter": ours, "page_size": PAGE_SIZE}
        with self._translated("list"):
            pages = self._client.list_secrets(request=request, retry=None, timeout=DEADLINE).pages
        while True:
            with self._translated("list"):
                page = next(pages, None)
            if page is None:
                return
            # Bare messages: reading them through the SDK's wrappers costs about ten times the CPU.
            for secret in ListSecretsResponse.pb(page).secrets:
                version = secret.annotations.get(TAG_VERSION, "")
                if marks := _marks(secret.labels, secret.annotations):
                    yield Copy(_last(secret.name), version, marks, intact=bool(version))

    def write(self, remote: str, value: Sensitive, marks: Marks, found: Copy | None) -> Copy:
        """Add a version unless the latest holds the value already, then record the marks.

        Safe to repeat after a crash at any point. Raises Conflict when somebody else was faster.
        """
        self._path(remote, "write")
        if problem := too_large(GCP_SECRET_MANAGER, len(value.reveal().encode())):
            raise errors.Invalid("write", self._named(remote), problem)
        if found is not None and not isinstance(found, _Seen):
            # A copy from a listing may be old, and lacks the etag.
            found = self._look(remote, "write")
        seen = found or self._create(remote, marks)
        if seen.intact and seen.marks == marks:
            return seen
        number = seen.version_id if self._serves(seen, value, marks) else self._add(remote, value)
        return self._record(seen, marks, number)

    def read(self, remote: str) -> Sensitive:
        """The latest version's value, its checksum verified. NotFound also where that version isn't enabled."""
        try:
            return Sensitive(self._access(remote, "latest", "read").decode())
        except errors.Conflict:
            problem, hint = "its latest version is disabled or destroyed", "Enable it, or push the secret again"
            raise errors.NotFound("read", self._named(remote), problem, hint) from None
        except UnicodeDecodeError:
            raise errors.Invalid("read", self._named(remote), "its value is not UTF-8 text") from None

    def delete(self, remote: str) -> None:
        """Remove the secret with every version, for good: Google Cloud keeps nothing to recover. Absent is success."""
        with suppress(errors.NotFound):
            self._call("delete", remote, self._client.delete_secret, {"name": self._path(remote, "delete")})

    def close(self) -> None:
        """Close the channel."""
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _look(self, remote: str, doing: str) -> _Seen | None:
        try:
            secret = self._call(doing, remote, self._client.get_secret, {"name": self._path(remote, doing)})
        except errors.NotFound:
            return None
        return _seen(remote, secret, self._latest(remote, doing))

    def _latest(self, remote: str, doing: str) -> SecretVersion | None:
        name = f"{self._path(remote, doing)}/versions/latest"
        try:
            return self._call(doing, remote, self._client.get_secret_version, {"name": name})
        except errors.NotFound:
            return None

    def _access(self, remote: str, version: str, doing: str) -> bytes:
        name = f"{self._path(remote, doing)}/versions/{version}"
        payload = self._call(doing, remote, self._client.access_secret_version, {"name": name}).payload
        if crc32c(payload.data) != payload.data_crc32c:
            raise errors.Unavailable(doing, self._named(remote), "the value arrived with a wrong checksum")
        return payload.data

    def _create(self, remote: str, marks: Marks) -> _Seen:
        """A secret without versions and without a fingerprint, so that it counts as stale until it is complete."""
        tags = {"labels": {TAG_MANAGED_BY: MANAGED_BY}, "annotations": {TAG_SOURCE: marks.source_tag}}
        secret = {"replication": {"automatic": {}}, **tags}
        request = {"parent": self._project, "secret_id": remote, "secret": secret}
        try:
            return _seen(remote, self._call("write", remote, self._client.create_secret, request), None)
        except errors.Conflict:
            # Perhaps our own, whose answer was lost.
            seen = self._look(remote, "write")
            if seen is None or seen.marks is None or seen.marks.source != marks.source:
                raise
            return seen

    def _serves(self, seen: _Seen, value: Sensitive, marks: Marks) -> bool:
        """Whether the latest version is this value. It is read only where the marks can't tell."""
        if seen.intact and seen.marks is not None:
            return seen.marks.fingerprint == marks.fingerprint
        if not seen.version_id:
            return False
        try:
            return self._access(seen.name, seen.version_id, "write") == value.reveal().encode()
        except errors.Conflict:
            return False

    def _add(self, remote: str, value: Sensitive) -> str:
        payload = {"data": value.reveal().encode(), "data_crc32c": crc32c(value.reveal().encode())}
        request = {"parent": self._path(remote, "write"), "payload": payload}
        return _last(self._call("write", remote, self._client.add_secret_version, request).name)

    def _record(self, seen: _Seen, marks: Marks, number: str) -> _Seen:
        ours = {TAG_SOURCE: marks.source_tag, TAG_FINGERPRINT: marks.fingerprint, TAG_VERSION: number}
        try:
            secret = self._annotate(seen, {**seen.annotations, **ours})
        except errors.Conflict:
            self._disclaim(seen.name, number)
            raise
        return _Seen(seen.name, number, marks, True, dict(secret.labels), dict(secret.annotations), secret.etag)

    def _disclaim(self, remote: str, number: str) -> None:
        """Let listings show the copy as stale when our version is the latest but the marks tell of another."""
        seen = self._look(remote, "write")
        if seen and seen.marks and seen.version_id == number and not seen.intact:
            self._annotate(seen, {key: text for key, text in seen.annotations.items() if key != TAG_VERSION})

    def _annotate(self, seen: _Seen, annotations: Mapping[str, str]) -> Secret:
        tags = {"labels": {**seen.labels, TAG_MANAGED_BY: MANAGED_BY}, "annotations": annotations}
        secret = {"name": self._path(seen.name, "write"), "etag": seen.etag, **tags}
        request = {"secret": secret, "update_mask": {"paths": ["labels", "annotations"]}}
        return self._call("write", seen.name, self._client.update_secret, request)

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"

    def _path(self, remote: str, doing: str) -> str:
        if problem := illegal_name(GCP_SECRET_MANAGER, remote):
            raise errors.Invalid(doing, self._named(remote), problem)
        return f"{self._project}/secrets/{remote}"

    def _call(self, doing: str, remote: str, rpc: Callable[..., _T], request: Mapping[str, Any]) -> _T:
        with self._translated(doing, remote):
            return rpc(request=request, retry=None, timeout=DEADLINE)

    @contextmanager
    def _translated(self, doing: str, remote: str | None = None) -> Iterator[None]:
        try:
            yield
        except (api.GoogleAPIError, auth.GoogleAuthError) as error:
            raise from_gcp(error, doing, self.name if remote is None else self._named(remote)) from None


def _loopback_transport(endpoint: str, name: str) -> SecretManagerServiceGrpcTransport:
    """An unencrypted transport without credentials, to this machine alone."""
    host, _, port = endpoint.rpartition(":")
    try:
        local = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local or not port.isdigit():
        problem = f"endpoint {endpoint!r} is not a loopback host:port"
        raise errors.Invalid("open", name, problem, "An endpoint is for an emulator; leave it out for Google Cloud")
    # By default a proxy of the environment would see the values, and a lost connection stay so for two minutes.
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
    options.append(("grpc.max_receive_message_length", -1))
    return SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(endpoint, options=options))


def _last(resource_name: str) -> str:
    return resource_name.rpartition("/")[2]


def _marks(labels: Mapping[str, str], annotations: Mapping[str, str]) -> Marks | None:
    tags = {TAG_MANAGED_BY: labels.get(TAG_MANAGED_BY, "")}
    return Marks.from_tags(tags | {key: annotations.get(key, "") for key in (TAG_SOURCE, TAG_FINGERPRINT)})


def _seen(remote: str, secret: Secret, latest: SecretVersion | None) -> _Seen:
    labels, annotations = dict(secret.labels), dict(secret.annotations)
    number = _last(latest.name) if latest else ""
    marks = _marks(labels, annotations)
    served = latest is not None and latest.state == SecretVersion.State.ENABLED
    intact = served and (marks is None or annotations.get(TAG_VERSION) == number)
    return _Seen(remote, number, marks, intact, labels, annotations, secret.etag)


_SIGN_IN: Final = "Set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login"
_GRANT: Final = "Grant roles/secretmanager.admin on the project to the account in use, and enable the API"
_AGAIN: Final = "Run again: it starts from the present state"
_CHECK: Final = "Check the project, the name and the size"

_MEANINGS: Final[tuple[tuple[tuple[type[Exception], ...], type[errors.KeyturnError], str, str], ...]] = (
    ((auth.DefaultCredentialsError, auth.RefreshError), errors.Denied, "no usable Google credentials", _SIGN_IN),
    ((api.Forbidden, api.Unauthorized), errors.Denied, "the credentials in use are refused", _GRANT),
    ((api.NotFound,), errors.NotFound, "there is no such secret or version", ""),
    # FailedPrecondition is a BadRequest too, so it stands before it.
    ((api.Conflict, api.FailedPrecondition), errors.Conflict, "it has changed since it was read", _AGAIN),
    ((api.BadRequest,), errors.Invalid, "the request is refused as wrong", _CHECK),
    ((api.MethodNotImplemented,), errors.UnsupportedOperation, "the service does not offer this", ""),
)


def from_gcp(error: Exception, doing: str, name: str) -> errors.KeyturnError:
    """The error of ours that one of the SDK's stands for; nothing of its text is kept, only the status code."""
    code = getattr(error, "grpc_status_code", None)
    status = f" ({code.name})" if isinstance(code, grpc.StatusCode) else ""
    if isinstance(error, api.TooManyRequests):
        problem, hint = f"the quota is used up{status}", "Slow down, or ask for a higher Secret Manager quota"
        waits = [detail.retry_delay for detail in error.details if isinstance(detail, RetryInfo)]
        after = waits[0].seconds + waits[0].nanos / 1e9 if waits else None
        return errors.Throttled(doing, name, problem, hint, after)
    for kinds, meaning, problem, hint in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(doing, name, f"{problem}{status}", hint)
    return errors.Unavailable(
        doing, name, f"Secret Manager did not answer{status}", "Check the network and the account"
    )
