"""Backups in a bucket of Google Cloud Storage. Source: "JSON API", and "Object Retention Lock".

Needs ``storage.objects.create``, ``.get`` and ``.list``; for retention ``storage.objects.setRetention``, for pruning
``storage.objects.delete``.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import google.auth
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.auth.transport import requests as transport
from google.cloud.storage import Client  # type: ignore[import-untyped]

from keyturn.core.clear_text import is_loopback
from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, Locked, NotFound, Throttled, Unavailable
from keyturn.core.ports.backups import LARGEST_OBJECT, StoredObject
from keyturn.providers.outbound import open_anywhere

STORAGE_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.full_control"
LONGEST_TRANSFER: Final = 60.0
"""Seconds for one object; nothing is retried here."""
OBJECT_ROLE: Final = "Give the identity roles/storage.objectUser on the bucket"

# At DEBUG it logs complete requests.
logging.getLogger(transport.__name__).addFilter(lambda record: record.levelno > logging.DEBUG)


class GcsBackupBucket:
    """A ``BackupPlace``; new objects are retained for ``retain``."""

    def __init__(
        self, client: Client, bucket: str, prefix: str, *, retain: timedelta | None = None, mode: str = "locked"
    ) -> None:
        self.name = f"gs://{bucket}/{prefix}".rstrip("/")
        self._client: Any = client
        self._bucket: Any = client.bucket(bucket)
        self._prefix = prefix
        self._retain, self._mode = retain, mode

    def put(self, name: str, content: bytes) -> None:
        blob = self._bucket.blob(self._prefix + name)
        if self._retain is not None:
            blob.retention.mode = self._mode.capitalize()
            blob.retention.retain_until_time = datetime.now(UTC) + self._retain
        with self._telling("write", name):
            try:
                blob.upload_from_string(
                    content,
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    timeout=LONGEST_TRANSFER,
                    retry=None,
                    checksum=None,
                )
            except api.PreconditionFailed:
                raise Conflict("write", self._called(name), "there is one of that name already") from None

    def get(self, name: str) -> bytes:
        with self._telling("read", name):
            blob = self._bucket.blob(self._prefix + name)
            content: bytes = blob.download_as_bytes(timeout=LONGEST_TRANSFER, retry=None, checksum=None)
        if len(content) > LARGEST_OBJECT:
            raise Invalid("read", self._called(name), f"it is longer than {LARGEST_OBJECT >> 20} MiB")
        return content

    def find(self, name: str) -> StoredObject | None:
        with self._telling("look at", name):
            blob = self._bucket.get_blob(self._prefix + name, timeout=LONGEST_TRANSFER, retry=None)
            return self._stored(blob) if blob else None

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        with self._telling("list", ""):
            blobs = self._client.list_blobs(
                self._bucket, prefix=self._prefix + prefix, timeout=LONGEST_TRANSFER, retry=None
            )
            for blob in blobs:
                yield self._stored(blob)

    def remove(self, name: str) -> None:
        stored = self.find(name)
        if stored is None:
            return
        if stored.retained_until and stored.retained_until > datetime.now(UTC):
            problem = f"it is retained until {stored.retained_until:%Y-%m-%d %H:%M} UTC"
            raise Locked("remove", self._called(name), problem, "Wait for that; it can't be removed before")
        with self._telling("remove", name):
            try:
                self._bucket.blob(self._prefix + name).delete(timeout=LONGEST_TRANSFER, retry=None)
            except api.NotFound:
                return

    def close(self) -> None:
        self._client.close()

    def _stored(self, blob: Any) -> StoredObject:
        moments = [blob.retention.retain_until_time, blob.retention_expiration_time]
        until = max((moment for moment in moments if moment), default=None)
        return StoredObject(blob.name.removeprefix(self._prefix), int(blob.size), blob.updated, until)

    def _called(self, name: str) -> str:
        return f"{self.name}/{name}" if name else self.name

    @contextmanager
    def _telling(self, doing: str, name: str) -> Iterator[None]:
        called = self._called(name)
        try:
            yield
        except api.NotFound:
            raise NotFound(doing, called, "there is no such object or bucket") from None
        except api.GoogleAPICallError as error:
            raise _refused(error, doing, called) from None
        except auth.GoogleAuthError:
            raise Denied(doing, called, "Google gave no token", "Check the application default credentials") from None
        except requests.RequestException:
            raise Unavailable(doing, called, "Google did not answer", "Check the network") from None


def open_bucket(
    bucket: str, prefix: str, *, endpoint: str | None = None, retain: timedelta | None = None, mode: str = "locked"
) -> GcsBackupBucket:
    """Raises Denied without credentials, and Invalid unless ``endpoint`` is a loopback host:port."""
    name = f"gs://{bucket}"
    if endpoint is not None and not is_loopback(endpoint.rpartition(":")[0]):
        raise Invalid("open", name, f"endpoint {endpoint!r} is not a loopback host:port", "Leave it out for Google")
    signing_in = requests.Session()
    try:
        credentials: Any = AnonymousCredentials() if endpoint else google.auth.default(scopes=[STORAGE_SCOPE])[0]  # type: ignore[no-untyped-call]
    except auth.DefaultCredentialsError:
        hint = "Give this process a service account, or set GOOGLE_APPLICATION_CREDENTIALS"
        raise Denied("open", name, "no application default credentials", hint) from None
    session: Any = transport.AuthorizedSession(credentials, auth_request=transport.Request(signing_in))  # type: ignore[no-untyped-call]
    session.max_redirects = signing_in.max_redirects = 0
    open_anywhere(signing_in)
    open_anywhere(session)
    options = {"api_endpoint": f"http://{endpoint}"} if endpoint else None
    # Only creating buckets needs a project.
    client = Client(project="-", credentials=credentials, _http=session, client_options=options)
    return GcsBackupBucket(client, bucket, prefix, retain=retain, mode=mode)


def _refused(error: api.GoogleAPICallError, doing: str, name: str) -> KeyturnError:
    status = int(error.code or 0)
    problem = f"Google answered {status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(doing, name, problem, "Slow down")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Denied(doing, name, problem, OBJECT_ROLE)
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(doing, name, problem, "It is tried again by itself")
    return Invalid(doing, name, problem, "Check the bucket, and that it has object retention where `retain` is set")
