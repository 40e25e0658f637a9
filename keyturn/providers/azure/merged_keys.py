"""Single keys in secrets of Azure Key Vault that others own.

Key Vault neither refuses concurrent versions nor numbers them. So all are listed before and after, and the change is
merged into a new one that is not ours. A value set without tags leaves the notes on an older version.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets import KeyVaultSecret, SecretClient, SecretProperties

from keyturn.core.errors import Invalid, Locked
from keyturn.core.ports.merged_keys import NOTE, Change, Shared
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import AZURE_KEY_VAULT, too_large
from keyturn.providers.azure import client as azure
from keyturn.providers.azure.marks import created, versions_of
from keyturn.providers.azure.versions import DISABLED
from keyturn.providers.sharing import MERGE, checked_text, shared_text

ATTEMPTS: Final = 4
MAX_TAGS: Final = 15
SIZE: Final = partial(too_large, AZURE_KEY_VAULT)


class SharedAzure:
    """``Shares`` in one vault; new secrets get ``content_type``."""

    atomic = True

    def __init__(
        self,
        name: str,
        client: SecretClient,
        calling: Callable[[str, str], AbstractContextManager[None]],
        entries: Callable[[], Iterator[Mapping[str, Any]]],
        content_type: str | None,
    ) -> None:
        self.name = name
        self._client = client
        self._calling = calling
        self._entries = entries
        self._content_type = content_type

    def look(self, remote: str) -> Shared | None:
        with self._calling(MERGE, remote):
            versions = {version.version for version in self._versions(remote)}
            served = self._served(remote)
            if served is None:
                self._refuse_deleted(remote)
                return None
            tags = dict(served.properties.tags or {})
            if not any(key.startswith(NOTE) for key in tags):
                tags |= self._noted_before(remote)
        version, text = served.properties.version or "", Sensitive(served.value or "")
        marks = OwnershipTags.from_tags(tags)
        return shared_text(
            self._named(remote), remote, version, text, tags, marks, snapshot=(served.properties, versions)
        )

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        checked_text(self._named(remote), SIZE, change, current)
        with self._calling(MERGE, remote):
            self._set(remote, change, current)

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        for entry in self._entries():
            tags = entry.get("tags") or {}
            if any(key.startswith(NOTE) for key in tags):
                yield str(entry.get("id")).partition("/secrets/")[2].partition("/")[0], tags

    def tidy(self, remote: str) -> None:
        """A write is one call, so nothing remains."""

    def _set(self, remote: str, change: Change, current: Shared | None) -> None:
        properties, versions = current.seen if current else (None, set())
        before, mine, passed = current, set(), versions | ({properties.version} if properties else set())
        for _ in range(ATTEMPTS):
            text = checked_text(self._named(remote), SIZE, change, before)
            made = self._client.set_secret(
                remote,
                text.reveal(),
                tags=self._tags(remote, before.tags if before else {}, change),
                content_type=properties.content_type if properties else self._content_type,
                expires_on=properties.expires_on if properties else None,
                not_before=properties.not_before if properties else None,
            )
            mine.add(made.properties.version)
            between = [version for version in self._versions(remote) if version.version not in passed | mine]
            if not between or self._current(remote) not in mine:
                return  # no version came in between, or another writer has replaced ours
            newest = max(between, key=created)
            passed |= {version.version for version in between}
            before = self._version(remote, newest, before)
        raise Locked(MERGE, self._named(remote), "others keep writing it", "Find out who else writes the secret")

    def _version(self, remote: str, properties: SecretProperties, before: Shared | None) -> Shared:
        served = self._client.get_secret(remote, properties.version)
        notes = {key: text for key, text in (before.tags if before else {}).items() if key.startswith(NOTE)}
        tags = {**notes, **(properties.tags or {})}
        text = Sensitive(served.value or "")
        return shared_text(self._named(remote), remote, properties.version or "", text, tags, None)

    def _versions(self, remote: str) -> list[SecretProperties]:
        try:
            return versions_of(self._client, remote, self._named(remote))
        except ResourceNotFoundError:
            return []

    def _current(self, remote: str) -> str | None:
        served = self._served(remote)
        return served.properties.version if served else None

    def _served(self, remote: str) -> KeyVaultSecret | None:
        try:
            return self._client.get_secret(remote)
        except ResourceNotFoundError:
            return None
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
        hint = "Let its owner enable it, or choose another name; nothing was written"
        raise Invalid(MERGE, self._named(remote), "its current version is disabled", hint)

    def _refuse_deleted(self, remote: str) -> None:
        try:
            self._client.get_deleted_secret(remote)
        except ResourceNotFoundError:
            return
        hint = "Let its owner recover or purge it, or choose another name; nothing was written"
        raise Invalid(MERGE, self._named(remote), "it is deleted, and can be recovered", hint)

    def _noted_before(self, remote: str) -> dict[str, str]:
        for version in sorted(self._versions(remote), key=created, reverse=True):
            if notes := {key: text for key, text in (version.tags or {}).items() if key.startswith(NOTE)}:
                return notes
        return {}

    def _tags(self, remote: str, before: Mapping[str, str], change: Change) -> dict[str, str]:
        tags = {key: text for key, text in {**before, **change.tags}.items() if text is not None}
        if len(tags) > MAX_TAGS:
            problem = f"its tags and the notes of who owns which keys are over {MAX_TAGS}"
            raise Invalid(MERGE, self._named(remote), problem, "Remove tags that are not needed; nothing was written")
        return tags

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"
