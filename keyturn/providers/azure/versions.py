"""Old versions in Key Vault: read and disable them, and purge a secret with all of them.

Key Vault can't remove single versions, and a disabled one can be enabled again. A deleted secret can be recovered until
it is purged. Source: "Azure Key Vault soft-delete overview".
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Final

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets import DeletedSecret, SecretClient, SecretProperties

from keyturn.core.errors import Denied, Locked
from keyturn.core.sensitive import Sensitive
from keyturn.providers.azure import client as azure
from keyturn.providers.azure.marks import PURGEABLE, versions_of
from keyturn.providers.side_by_side import read_side_by_side

DISABLED: Final = "SecretDisabled"
BEING_DELETED: Final = "ObjectIsBeingDeleted"
PAST: Final = "read old versions of"
FORGET: Final = "forget old versions of"
ERASE: Final = "erase"
AT_ONCE: Final = 16

Calling = Callable[[str, str], AbstractContextManager[None]]


class AzureVersions:
    def __init__(self, store: str, client: SecretClient, calling: Calling, pauses: Sequence[float]) -> None:
        self._store = store
        self._client = client
        self._calling = calling
        self._pauses = pauses

    def past(self, remote: str) -> dict[str, Sensitive]:
        with self._calling(PAST, remote):
            old = [version.version or "" for version in self._old(remote) if version.enabled]
        return read_side_by_side(lambda version: self._value(remote, version), old, AT_ONCE)

    def forget(self, remote: str) -> tuple[str, ...]:
        """Return all versions that remain, even of a deleted secret."""
        with self._calling(FORGET, remote):
            old = self._old(remote)
        deleted = None if old else self._deleted(remote, FORGET)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(
                pool.map(
                    lambda version: self._disable(remote, version),
                    (properties for properties in old if properties.enabled),
                )
            )
        stays = "is disabled, not removed: anyone who may update secrets can enable it again"
        words = tuple(f"version {version.version} {stays}" for version in old)
        return words if deleted is None else (f"all versions can be recovered with the secret {_until(deleted)}",)

    def erase(self, remote: str) -> tuple[str, ...]:
        """If the vault forbids a purge, return until when the secret stays."""
        vanishing = self._delete(remote)
        for pause in (*self._pauses, 0):
            deleted = self._deleted(remote, ERASE)
            if deleted is None and not vanishing:
                return ()
            if deleted is not None:
                if PURGEABLE not in (deleted.properties.recovery_level or PURGEABLE):
                    return (f"purge protection keeps it: it can be recovered {_until(deleted)}",)
                vanishing = not self._purge(remote, deleted)
            time.sleep(pause)
        problem = "its deletion or purge is still under way"
        raise Locked(ERASE, self._named(remote), problem, "Run it again in a minute")

    def _old(self, remote: str) -> list[SecretProperties]:
        """Every version but the served one; empty if absent or deleted, all if disabled."""
        try:
            history = versions_of(self._client, remote, self._named(remote))
        except ResourceNotFoundError:
            return []
        # Read after the listing, so that a concurrent version is in neither.
        served = self._served(remote) if history else None
        return [version for version in history if version.version != served]

    def _served(self, remote: str) -> str | None:
        try:
            return self._client.get_secret(remote).properties.version
        except ResourceNotFoundError:
            return None
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
            return None

    def _value(self, remote: str, version: str) -> Sensitive:
        with self._calling(PAST, remote):
            return Sensitive(self._client.get_secret(remote, version).value or "")

    def _disable(self, remote: str, version: SecretProperties) -> None:
        with self._calling(FORGET, remote):
            self._client.update_secret_properties(remote, version.version, enabled=False)

    def _delete(self, remote: str) -> bool:
        with self._calling(ERASE, remote):
            try:
                self._client.begin_delete_secret(remote)
            except ResourceNotFoundError:
                return False
            except ResourceExistsError as error:
                if azure.service_code(error) != BEING_DELETED:
                    raise
        return True

    def _deleted(self, remote: str, doing: str) -> DeletedSecret | None:
        with self._calling(doing, remote):
            try:
                return self._client.get_deleted_secret(remote)
            except ResourceNotFoundError:
                return None

    def _purge(self, remote: str, deleted: DeletedSecret) -> bool:
        with self._calling(ERASE, remote):
            try:
                self._client.purge_deleted_secret(remote)
            except ResourceNotFoundError:
                return True
            except ResourceExistsError:
                return False
            except HttpResponseError as error:
                if error.status_code != 403:
                    raise
                problem = f"it is deleted, can be recovered {_until(deleted)}, and may not be purged"
                hint = "Give the identity the permission to purge secrets, or purge it: az keyvault secret purge"
                raise Denied(ERASE, self._named(remote), problem, hint) from None
        return True

    def _named(self, remote: str) -> str:
        return f"{self._store}:{remote}"


def _until(deleted: DeletedSecret) -> str:
    ends = deleted.scheduled_purge_date
    return f"until {ends:%Y-%m-%d %H:%M} UTC" if ends else "until its retention period ends"
