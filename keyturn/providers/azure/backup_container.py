"""Backups in a container of Azure Blob Storage. Source: "Blob Storage REST API", and "Version-level WORM policies".

Needs the role "Storage Blob Data Contributor" on the container.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient, ImmutabilityPolicy

from keyturn.core.errors import Conflict, Denied, Invalid, Locked, NotFound
from keyturn.core.ports.backups import LARGEST_OBJECT, StoredObject
from keyturn.providers import outbound
from keyturn.providers.azure import client as azure

BLOB_ROLE: Final = 'Give the identity the role "Storage Blob Data Contributor" on the container'
LONGEST_TRANSFER: Final = 60.0
"""Seconds for one object."""
IMMUTABLE: Final = "BlobImmutableDueToPolicy"


class BackupContainer:
    """A ``BackupPlace``; new blobs are immutable for ``retain``."""

    def __init__(
        self, client: ContainerClient, prefix: str = "", *, retain: timedelta | None = None, mode: str = "locked"
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._retain, self._mode = retain, mode
        self.name = f"{client.url}/{prefix}".rstrip("/")

    def put(self, name: str, content: bytes) -> None:
        with self._telling("write", name):
            try:
                self._client.upload_blob(
                    self._prefix + name, content, overwrite=False, length=len(content), **self._policy()
                )
            except ResourceExistsError:
                raise Conflict("write", self._called(name), "there is one of that name already") from None

    def get(self, name: str) -> bytes:
        with self._telling("read", name):
            download = self._client.download_blob(self._prefix + name)
            if download.size > LARGEST_OBJECT:
                raise Invalid("read", self._called(name), f"it is longer than {LARGEST_OBJECT >> 20} MiB")
            content: bytes = download.readall()
        return content

    def find(self, name: str) -> StoredObject | None:
        with self._telling("look at", name):
            try:
                return self._stored(self._client.get_blob_client(self._prefix + name).get_blob_properties())
            except ResourceNotFoundError as error:
                if _code(error) == "ContainerNotFound":
                    raise
                return None

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        with self._telling("list", ""):
            for blob in self._client.list_blobs(name_starts_with=self._prefix + prefix, include=["immutabilitypolicy"]):
                yield self._stored(blob)

    def remove(self, name: str) -> None:
        with self._telling("remove", name):
            try:
                self._client.delete_blob(self._prefix + name)
            except ResourceNotFoundError:
                return
            except HttpResponseError as error:
                if _code(error) != IMMUTABLE:
                    raise
                problem = "a policy of its container keeps it from being removed"
                raise Locked("remove", self._called(name), problem, "Wait until that has ended") from None

    def close(self) -> None:
        self._client.close()

    def _stored(self, blob: Any) -> StoredObject:
        policy = blob.immutability_policy
        until = policy.expiry_time if policy else None
        return StoredObject(blob.name.removeprefix(self._prefix), blob.size, blob.last_modified, until)

    def _policy(self) -> Mapping[str, Any]:
        if self._retain is None:
            return {}
        until = datetime.now(UTC) + self._retain
        return {"immutability_policy": ImmutabilityPolicy(expiry_time=until, policy_mode=self._mode.capitalize())}

    def _called(self, name: str) -> str:
        return f"{self.name}/{name}" if name else self.name

    @contextmanager
    def _telling(self, doing: str, name: str) -> Iterator[None]:
        called = self._called(name)
        try:
            with outbound.within(LONGEST_TRANSFER):
                yield
        except ResourceNotFoundError:
            raise NotFound(doing, called, "there is no such blob or container") from None
        except HttpResponseError as error:
            if error.status_code == HTTPStatus.FORBIDDEN:
                raise Denied(doing, called, f"Azure answered 403 ({_code(error)})", BLOB_ROLE) from None
            raise azure.from_azure(error, doing, called) from None
        except AzureError as error:
            raise azure.from_azure(error, doing, called) from None


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def open_container(
    account_url: str,
    container: str,
    prefix: str,
    *,
    ca_file: str | None = None,
    authority: str | None = None,
    retain: timedelta | None = None,
    mode: str = "locked",
) -> BackupContainer:
    """Raises Invalid."""
    trust = azure.trust_in(ca_file)
    client = ContainerClient(
        account_url,
        container,
        credential=azure.credential(f"{account_url}/{container}", authority, trust),
        transport=azure.open_transport(account_url, trust),
        user_agent="keyturn",
        **azure.SDK_SETTINGS,
    )
    return BackupContainer(client, prefix, retain=retain, mode=mode)
