"""Azure Key Vault as a store of secrets.

Marks are tags. One call sets a version's value and tags, so a copy never has another value's marks. A version by
another writer lacks the tags.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.keyvault.secrets import SecretClient

from keyturn.core.errors import Conflict, Denied, Invalid, Locked, Taken, UnsupportedOperation
from keyturn.core.ports.stores import (
    NO_DETAILS,
    TAG_MANAGED_BY,
    Details,
    OwnershipTags,
    RemoteSecret,
    Unsupported,
    changed_tags,
)
from keyturn.core.rights.posture import Posture
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import AZURE_KEY_VAULT, illegal_name, too_large
from keyturn.core.text.details import SHOWN
from keyturn.providers.answers import reads_answers
from keyturn.providers.azure import client as azure
from keyturn.providers.azure.marks import (
    FIRST_PAGE,
    AzureSecret,
    created,
    describe_entry,
    describe_properties,
    page,
    versions_of,
)
from keyturn.providers.azure.merged_keys import SharedAzure
from keyturn.providers.azure.posture import deletion_posture, vault_posture
from keyturn.providers.azure.resource_manager import PUBLIC
from keyturn.providers.azure.versions import BEING_DELETED, DISABLED, AzureVersions
from keyturn.providers.pages import PageGuard
from keyturn.providers.side_by_side import read_side_by_side
from keyturn.providers.store_refusals import has_changed, insist_on_value, unfulfilled

RECOVERABLE: Final = "ObjectIsDeletedButRecoverable"
LOOK: Final = "Look at it before writing"
NOT_IN_ROLE: Final = "ForbiddenByRbac"
UPDATE: Final = "the data action secrets/update/action"
ANY: Final = "*"
MAX_TAGS: Final = 15
MAX_TAG_LENGTH: Final = 256
"""Source: "About Azure Key Vault secrets", secret tags."""
READERS: Final = 16
"""Far below a vault's limit of 4,000 calls in 10 seconds."""
PAUSES: Final = (0.1, 0.2, 0.5, 1, 1, 2, 2, 3, 3, 3)
"""Seconds between writes during a deletion, recovery or purge, which takes about 5."""


@reads_answers()
class AzureKeyVault:
    """A :class:`keyturn.core.ports.stores.Store` in one vault.

    ``credential`` signs in, else the identity ``client_id``, else Azure's environment variables and managed identity.
    ``authority`` is a private sign-in's address. ``ca_file`` (PEM) replaces the public authorities. ``deleted_name`` is
    what to do with a deleted secret that has a new copy's name. Resource Manager reports the settings of the vault
    ``resource_id``. Raises Invalid for unusable settings.
    """

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        vault_url: str,
        ca_file: str | None = None,
        authority: str | None = None,
        credential: TokenCredential | None = None,
        content_type: str | None = None,
        deleted_name: Literal["recover", "purge"] = "recover",
        resource_id: str | None = None,
        management_url: str | None = None,
        client_id: str | None = None,
    ) -> None:
        self.name = name
        self._content_type = content_type
        self._purges = deleted_name == "purge"
        if urlsplit(vault_url).scheme != "https" or not urlsplit(vault_url).hostname:
            raise Invalid("open", name, "its address is not an https:// URL", "Take the vault's URI from its overview")
        trust = azure.trust_in(ca_file)
        self._own = None
        if credential is None:
            credential = self._own = azure.credential(name, authority, trust, client_id)
        self._client = SecretClient(
            vault_url,
            credential,
            # A private vault's name does not show its tokens' service.
            verify_challenge_resource=authority is None,
            transport=azure.open_transport(vault_url, trust),
            user_agent="keyturn",
            **azure.SDK_SETTINGS,
        )
        self._managed_at = (
            resource_id,
            management_url or PUBLIC,
            authority,
            trust.get("connection_verify"),
            credential,
        )
        self._signing_in = threading.Lock()
        self._signed_in = False
        self._versions = AzureVersions(name, self._client, self._calling, PAUSES)
        self.shared = SharedAzure(name, self._client, self._calling, self._entries, content_type)

    def describe(self, remote: str) -> RemoteSecret | None:
        """Describe one secret; None if absent.

        Key Vault describes the current version only with its value, which this discards unread. Listing versions takes
        a call for every 25, and their order may be ambiguous. So they are listed only if the current one is disabled or
        unmarked: an older marked one reveals another writer.
        """
        with self._calling("find", remote):
            return self._find(remote)

    def list_managed(self) -> Iterator[RemoteSecret]:
        ours = (entry for entry in self._entries() if TAG_MANAGED_BY in (entry.get("tags") or ()))
        return (copy for entry in ours if (copy := describe_entry(entry)).marks is not None)

    def list_all(self) -> Iterator[RemoteSecret]:
        return (describe_entry(entry) for entry in self._entries())

    def posture(self, remotes: Sequence[str]) -> Iterator[Posture]:
        yield from deletion_posture(self._entries())
        yield from vault_posture(self.name, *self._managed_at)

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """Raises Conflict if ``current`` is None and another owner's deleted secret has the name.

        Recovers or purges other deleted secrets first, which can take seconds. Raises UnsupportedOperation if the vault
        protects one from a purge.
        """
        self._check(remote, value, marks)
        settled = current is not None and current.intact and current.marks == marks
        with self._calling("write", remote):
            if settled and (same := self._same(remote, value, marks)) is not None:
                lacks = unfulfilled(details, same, SHOWN[AZURE_KEY_VAULT])
                return self._label(same, marks, details) if lacks else same
            existing = current if current is None or isinstance(current, AzureSecret) else self._find(remote)
            return self._set(remote, value, marks, existing, details)

    def create(
        self, remote: str, value: Sensitive, marks: OwnershipTags, *, details: Details = NO_DETAILS
    ) -> RemoteSecret:
        """Key Vault refuses only names of deleted secrets, so this checks the name first. Raises Taken."""
        self._check(remote, value, marks)
        with self._calling("write", remote):
            if self._is_there(remote):
                raise Taken("write", self._full(remote), "a secret of that name is there", LOOK)
            try:
                secret = self._client.set_secret(
                    remote,
                    value.reveal(),
                    tags=self._tags(remote, None, marks, details),
                    content_type=details.content_type or self._content_type,
                    expires_on=details.expires_at,
                )
            except ResourceExistsError:
                raise Taken("write", self._full(remote), "a deleted secret has that name", LOOK) from None
        made = describe_properties(remote, secret.properties)
        if made.marks != marks or not made.intact or secret.value != value.reveal():
            raise Conflict("write", self._full(remote), "it serves something else than was written", LOOK)
        return made

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """Raises Conflict if the described version is no longer served."""
        insist_on_value(self._full(remote), current, marks)
        with self._calling("label", remote):
            existing = current if isinstance(current, AzureSecret) and current.version else self._find(remote)
            if existing is None or existing != current:
                raise has_changed(self._full(remote))
            return self._label(existing, marks, details)

    def read(self, remote: str) -> Sensitive:
        """Raises NotFound, also if the secret is disabled or deleted."""
        with self._calling("read", remote):
            secret = self._client.get_secret(remote)
            describe_properties(remote, secret.properties)
            return Sensitive(secret.value or "")

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        return read_side_by_side(self.read, remotes, READERS)

    def delete(self, remote: str) -> None:
        with self._calling("delete", remote):
            try:
                self._client.begin_delete_secret(remote)
            except ResourceNotFoundError:
                return
            except ResourceExistsError as error:
                if azure.service_code(error) != BEING_DELETED:
                    raise

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        return self._versions.past(remote)

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Disable every old version: Key Vault can't remove single versions."""
        return self._versions.forget(remote)

    def purge(self, remote: str) -> tuple[str, ...]:
        return self._versions.erase(remote)

    def close(self) -> None:
        self._client.close()
        if self._own is not None:
            self._own.close()

    def _entries(self) -> Iterator[Mapping[str, Any]]:
        where, guard = FIRST_PAGE, PageGuard("list", self._full(ANY))
        while where:
            with self._calling("list", ANY):
                entries, where = page(self._client, guard.follow(where))
            yield from entries

    def _same(self, remote: str, value: Sensitive, marks: OwnershipTags) -> AzureSecret | None:
        try:
            served = self._client.get_secret(remote)
        except ResourceNotFoundError:
            return None
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
            return None
        copy = describe_properties(remote, served.properties)
        return copy if copy.marks == marks and served.value == value.reveal() else None

    def _is_there(self, remote: str) -> bool:
        """Whether the name is in use, even if disabled."""
        answer = self._client.send_request(HttpRequest("GET", f"/secrets/{remote}"))
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return False
        try:
            answer.raise_for_status()
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
        return True

    def _find(self, remote: str) -> AzureSecret | None:
        try:
            properties = self._client.get_secret(remote).properties
        except ResourceNotFoundError:
            return self._find_deleted(remote)
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
            return self._find_in_versions(remote)
        secret = describe_properties(remote, properties)
        # An edited version without marks had them removed; a newly set one never had any.
        if secret.marks is None and properties.updated_on == properties.created_on:
            return self._find_in_versions(remote, secret)
        return secret

    def _find_deleted(self, remote: str) -> AzureSecret | None:
        try:
            deleted = self._client.get_deleted_secret(remote)
        except ResourceNotFoundError:
            return None
        secret = describe_properties(remote, deleted.properties, intact=False)
        # A new copy can take over nothing after a purge.
        return replace(secret, tags={}, content_type=None) if self._purges else secret

    def _find_in_versions(self, remote: str, served: AzureSecret | None = None) -> AzureSecret | None:
        """``served`` (None if unavailable) with the newest marks of any version."""
        history = sorted(versions_of(self._client, remote, self._full(remote)), key=created)
        if not history:
            return served
        served = served or describe_properties(remote, history[-1], intact=False)
        for properties in reversed(history):
            if (marks := OwnershipTags.from_tags(properties.tags or {})) is not None:
                return replace(served, marks=marks, intact=False)
        return served

    def _set(
        self, remote: str, value: Sensitive, marks: OwnershipTags, existing: AzureSecret | None, details: Details
    ) -> RemoteSecret:
        for pause in PAUSES:
            tags = self._tags(remote, existing, marks, details)
            content_type = details.content_type or (existing.content_type if existing else None) or self._content_type
            try:
                secret = self._client.set_secret(
                    remote, value.reveal(), tags=tags, content_type=content_type, expires_on=details.expires_at
                )
            except ResourceExistsError as error:
                if azure.service_code(error) == RECOVERABLE:
                    existing = self._free(remote, existing)
                time.sleep(pause)
            else:
                return describe_properties(remote, secret.properties)
        problem = "the deletion, recovery or purge of its name is still under way"
        raise Locked("write", self._full(remote), problem, "Run it again in a minute")

    def _label(self, existing: AzureSecret, marks: OwnershipTags, details: Details) -> RemoteSecret:
        tags = self._tags(existing.name, existing, marks, details)
        try:
            changed = self._client.update_secret_properties(
                existing.name,
                existing.version,
                tags=tags,
                content_type=details.content_type or None,
                expires_on=details.expires_at,
            )
        except HttpResponseError as error:
            if azure.service_code(error) != NOT_IN_ROLE:
                raise
            problem = "the identity may not change tags"
            hint = f"Give its role {UPDATE}, as `keyturn setup store` writes it"
            raise Denied("label", self._full(existing.name), problem, hint) from None
        return describe_properties(existing.name, changed)

    def _free(self, remote: str, existing: AzureSecret | None) -> AzureSecret | None:
        """Start recovering or purging the deleted secret, unless it is neither described nor ours."""
        deleted = self._find_deleted(remote)
        if deleted is None:  # another user has just recovered or purged it
            return existing
        if existing is None and deleted.marks is None:
            hint = "Adopt it in the catalogue, or purge it: az keyvault secret purge"
            raise Conflict("write", self._full(remote), "a deleted secret that is not Keyturn's has this name", hint)
        # Another user was faster, or it is already in progress.
        with suppress(ResourceNotFoundError, ResourceExistsError):
            if self._purges:
                self._purge(deleted)
            else:
                self._client.begin_recover_deleted_secret(remote)
        return existing or deleted

    def _purge(self, deleted: AzureSecret) -> None:
        name = self._full(deleted.name)
        if not deleted.purgeable:
            problem = "a deleted secret has this name, and the vault's purge protection keeps it"
            raise UnsupportedOperation("purge", name, problem, "Set deleted_name: recover")
        try:
            self._client.purge_deleted_secret(deleted.name)
        except HttpResponseError as error:
            if error.status_code != 403:
                raise
            hint = "Give the identity the permission to purge secrets, or set deleted_name: recover"
            raise Denied("purge", name, "a deleted secret has this name", hint) from None

    def _tags(
        self, remote: str, existing: AzureSecret | None, marks: OwnershipTags, details: Details
    ) -> dict[str, str]:
        before = existing.marks.tags if existing and existing.marks else ()
        beside = changed_tags(existing.tags if existing else {}, details.tags, before)
        tags = {**beside, **marks.to_tags()}
        if len(tags) > MAX_TAGS:
            theirs = len(beside.keys() - details.tags.keys())
            problem = f"{theirs} tags of others and {len(tags) - theirs} of ours are over {MAX_TAGS}"
            raise Invalid("write", self._full(remote), problem, "Remove tags that are not needed")
        return tags

    def _check(self, remote: str, value: Sensitive, marks: OwnershipTags) -> None:
        problem = illegal_name(AZURE_KEY_VAULT, remote) or too_large(AZURE_KEY_VAULT, len(value.reveal().encode()))
        if problem is None and len(marks.source_tag) > MAX_TAG_LENGTH:
            problem = f"the source's path makes a tag of more than {MAX_TAG_LENGTH} characters"
        if problem is not None:
            raise Invalid("write", self._full(remote), problem)

    def _full(self, remote: str) -> str:
        return f"{self.name}:{remote}"

    @contextmanager
    def _calling(self, doing: str, remote: str) -> Iterator[None]:
        """Translate the SDK's errors inside. Only one thread makes the first call, which signs in."""
        name = self._full(remote)
        if remote != ANY and (problem := illegal_name(AZURE_KEY_VAULT, remote)):
            raise Invalid(doing, name, problem)
        # Concurrent threads would each request a token; the SDK drops its token while it answers a challenge.
        with nullcontext() if self._signed_in else self._signing_in, azure.translate_azure_errors(doing, name):
            yield
        self._signed_in = True
