"""Azure Key Vault as a store of secrets.

Marks are tags. In Key Vault tags belong to a version, and one call sets value and tags together, so a copy never
carries marks of another value. A version set by somebody else lacks the tags, which shows the change.
"""

import os
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
from keyturn.core.text.details import SHOWN
from keyturn.core.text.names import AZURE_KEY_VAULT, illegal_name, too_large
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
from keyturn.providers.azure.posture import deletion_posture, vault_posture
from keyturn.providers.azure.resource_manager import PUBLIC
from keyturn.providers.azure.shared import SharedAzure
from keyturn.providers.azure.versions import BEING_DELETED, DISABLED, AzureVersions
from keyturn.providers.limits import has_changed, insist_on_value, unfulfilled
from keyturn.providers.pages import PageGuard
from keyturn.providers.side_by_side import read_side_by_side

RECOVERABLE: Final = "ObjectIsDeletedButRecoverable"

LOOK: Final = "Look at it before writing"

NOT_IN_ROLE: Final = "ForbiddenByRbac"
UPDATE: Final = "the data action secrets/update/action"
ANY: Final = "*"
"""Stands for the name where a call is about all of them."""

MAX_TAGS: Final = 15
MAX_TAG_LENGTH: Final = 256
"""Source of both: "About Azure Key Vault secrets", secret tags."""

READERS: Final = 16
"""Values read side by side: far below the 4,000 calls that a vault takes in 10 seconds."""

PAUSES: Final = (0.1, 0.2, 0.5, 1, 1, 2, 2, 3, 3, 3)
"""Seconds between attempts to write while a deletion, recovery or purge is under way; the service takes about 5."""


@reads_answers()
class AzureKeyVault:
    """One vault. Fulfils :class:`keyturn.core.ports.stores.Store`.

    ``credential`` signs in; without it the identity ``client_id`` does, or else Azure's own environment variables and
    managed identity. ``authority`` is
    the address of a private sign-in, which takes AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET;
    ``ca_file`` holds the certificate authorities (PEM) that vault and sign-in are verified with, instead of the
    public ones. ``content_type`` is what new copies get that are asked for none; ``deleted_name`` is what is done
    with a deleted secret that still has the name of a new copy. By its ``resource_id`` Resource Manager, at
    ``management_url`` or Azure's own, is asked how the vault is set. Raises Invalid where these don't fit together.
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
        bundle = ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        trust = {} if bundle is None else {"connection_verify": bundle}
        self._own = None
        if credential is None:
            credential = self._own = azure.credential(name, authority, trust, client_id)
        self._client = SecretClient(
            vault_url,
            credential,
            # A private vault's name says nothing about the service that its tokens are for.
            verify_challenge_resource=authority is None,
            transport=azure.open_transport(vault_url, trust),
            user_agent="keyturn",
            **azure.SDK_SETTINGS,
        )
        self._managed_at = (resource_id, management_url or PUBLIC, authority, bundle, credential)
        self._signing_in = threading.Lock()
        self._signed_in = False
        self._versions = AzureVersions(name, self._client, self._calling, PAUSES)
        self.shared = SharedAzure(name, self._client, self._calling, self._entries, content_type)

    def describe(self, remote: str) -> RemoteSecret | None:
        """Describe one secret; None where there is none.

        Key Vault can't describe the current version without its value. Listing the versions can, but takes a call
        for every 25 of them, in no order, with dates in whole seconds, so that the newest of two made in one second
        is anybody's guess. So this gets the current version and drops the value unread. Only where that carries no
        marks, or is disabled, the versions are listed: an older one of ours tells that somebody else changed it.
        """
        with self._calling("find", remote):
            return self._find(remote)

    def list_managed(self) -> Iterator[RemoteSecret]:
        """Every copy that carries our marks, 25 to a call; without those that are deleted.

        One that somebody else set lacks the marks, and so is left out.
        """
        ours = (entry for entry in self._entries() if TAG_MANAGED_BY in (entry.get("tags") or ()))
        return (copy for entry in ours if (copy := describe_entry(entry)).marks is not None)

    def list_all(self) -> Iterator[RemoteSecret]:
        """Every secret that is not deleted, 25 to a call."""
        return (describe_entry(entry) for entry in self._entries())

    def posture(self, remotes: Sequence[str]) -> Iterator[Posture]:
        """What the vault's secrets tell, and Resource Manager where it is named. Raises Denied, Unavailable."""
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
        """Set value, marks and details in one call, and keep the tags and content type that others gave.

        A deleted secret is recovered or purged first, which needs the permission to and can take seconds. Raises
        Conflict where ``current`` is None and a deleted secret of somebody else has the name after all, and
        UnsupportedOperation where it must be purged and the vault protects it.
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
        """Look, since Key Vault refuses only the names of deleted secrets; then set it. Raises Taken.

        Key Vault answers with what it keeps, value and tags, and that is compared.
        """
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
        """Change the very version that was found, in one call. Raises Conflict where it is no longer the one served.

        A version that somebody else sets meanwhile is another one, and stays without our tags.
        """
        insist_on_value(self._full(remote), current, marks)
        with self._calling("label", remote):
            existing = current if isinstance(current, AzureSecret) and current.version else self._find(remote)
            if existing is None or existing != current:
                raise has_changed(self._full(remote))
            return self._label(existing, marks, details)

    def read(self, remote: str) -> Sensitive:
        """The value served now. Raises NotFound, also where the secret is disabled or deleted."""
        with self._calling("read", remote):
            secret = self._client.get_secret(remote)
            describe_properties(remote, secret.properties)
            return Sensitive(secret.value or "")

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """The values served now, one call each, side by side; what is absent, disabled or deleted is left out."""
        return read_side_by_side(self.read, remotes, READERS)

    def delete(self, remote: str) -> None:
        """Delete recoverably. Absent is success, and so is a deletion that is under way."""
        with self._calling("delete", remote):
            try:
                self._client.begin_delete_secret(remote)
            except ResourceNotFoundError:
                return
            except ResourceExistsError as error:
                if azure.service_code(error) != BEING_DELETED:
                    raise

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        """The values of the enabled old versions, by version id; of what is deleted nothing can be read."""
        return self._versions.past(remote)

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Disable every old version: Key Vault removes none by itself."""
        return self._versions.forget(remote)

    def purge(self, remote: str) -> tuple[str, ...]:
        """Delete and purge it, or say until when the vault's purge protection keeps it. Absent is success."""
        return self._versions.erase(remote)

    def close(self) -> None:
        """Close the connections, and the credential if it is our own."""
        self._client.close()
        if self._own is not None:
            self._own.close()

    def _entries(self) -> Iterator[Mapping[str, Any]]:
        """What the listing's pages tell, which may be empty before the last."""
        where, guard = FIRST_PAGE, PageGuard("list", self._full(ANY))
        while where:
            with self._calling("list", ANY):
                entries, where = page(self._client, guard.follow(where))
            yield from entries

    def _same(self, remote: str, value: Sensitive, marks: OwnershipTags) -> AzureSecret | None:
        """What is served now, if it is this value with these marks."""
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
        """Whether anything has the name, disabled or not; a deleted secret is refused by the service itself."""
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
        # Who edits a version and leaves no marks on it has taken them off; whoever sets a value never saw them.
        if secret.marks is None and properties.updated_on == properties.created_on:
            return self._find_in_versions(remote, secret)
        return secret

    def _find_deleted(self, remote: str) -> AzureSecret | None:
        try:
            deleted = self._client.get_deleted_secret(remote)
        except ResourceNotFoundError:
            return None
        secret = describe_properties(remote, deleted.properties, intact=False)
        # What is purged leaves nothing that a new copy could take over.
        return replace(secret, tags={}, content_type=None) if self._purges else secret

    def _find_in_versions(self, remote: str, served: AzureSecret | None = None) -> AzureSecret | None:
        """What is ``served`` (None: it can't be got), with the newest marks that any version carries."""
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
        """Change one version's tags, which are set whole, and what else is asked for; the rest of it stays."""
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
        """Begin to recover or purge the deleted secret of that name, unless nobody has seen it and it isn't ours."""
        deleted = self._find_deleted(remote)
        if deleted is None:  # somebody recovered or purged it just now
            return existing
        if existing is None and deleted.marks is None:
            hint = "Adopt it in the catalogue, or purge it: az keyvault secret purge"
            raise Conflict("write", self._full(remote), "somebody else's deleted secret has this name", hint)
        # Somebody else is quicker, or it is under way.
        with suppress(ResourceNotFoundError, ResourceExistsError):
            if self._purges:
                self._purge(deleted)
            else:
                self._client.begin_recover_deleted_secret(remote)
        return existing or deleted

    def _purge(self, deleted: AzureSecret) -> None:
        """Begin to remove a deleted secret for good."""
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
            raise Invalid("write", self._full(remote), problem, "Remove tags that nobody needs")
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
        """Calls of the SDK go inside: its errors become ours, and the first call signs in alone."""
        name = self._full(remote)
        if remote != ANY and (problem := illegal_name(AZURE_KEY_VAULT, remote)):
            raise Invalid(doing, name, problem)
        # Threads that start together would each ask for a token; the SDK drops its own while it answers a challenge.
        with nullcontext() if self._signed_in else self._signing_in, azure.translate_azure_errors(doing, name):
            yield
        self._signed_in = True
