"""Azure Key Vault as a store of secrets.

Marks are tags. In Key Vault tags belong to a version, and one call sets value and tags together, so a copy never
carries marks of another value. A version set by somebody else lacks the tags, which shows the change.

Listings name no version, so ``version_id`` is made of what every answer has: the second in which the version was
created, and, where it is ours, the hub's version and the fingerprint's beginning.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import requests
from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.secrets import SecretClient, SecretProperties
from requests.adapters import HTTPAdapter

from keyturn.core.errors import Conflict, Invalid, Locked
from keyturn.core.names import AZURE_KEY_VAULT, illegal_name, too_large
from keyturn.core.sensitive import Sensitive
from keyturn.core.stores import Copy, Marks
from keyturn.providers import azure

DISABLED: Final = "SecretDisabled"
BEING_DELETED: Final = "ObjectIsBeingDeleted"
RECOVERABLE: Final = "ObjectIsDeletedButRecoverable"

ANY: Final = "*"
"""Stands for the name where a call is about all of them."""

OUR_TAGS: Final = "keyturn-"
MAX_TAGS: Final = 15
MAX_TAG_LENGTH: Final = 256
"""Source of both: "About Azure Key Vault secrets", secret tags."""

CONNECTIONS: Final = 32
"""Kept open for threads that call at once."""

PAUSES: Final = (0.1, 0.2, 0.5, 1, 1, 2, 2, 3, 3, 3)
"""Seconds between attempts to write while a deletion or recovery is under way; the service takes about 5."""


class AzureKeyVault:
    """One vault. Fulfils :class:`keyturn.core.stores.Store`.

    ``credential`` signs in; without it Azure's own environment variables and managed identity do. ``authority`` is
    the address of a private sign-in, which takes AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET;
    ``ca_file`` holds the certificate authorities (PEM) that vault and sign-in are verified with, instead of the
    public ones. Raises Invalid where these don't fit together.
    """

    def __init__(
        self,
        name: str,
        *,
        vault_url: str,
        ca_file: str | None = None,
        authority: str | None = None,
        credential: TokenCredential | None = None,
    ) -> None:
        self.name = name
        if urlsplit(vault_url).scheme != "https" or not urlsplit(vault_url).hostname:
            raise Invalid("open", name, "its address is not an https:// URL", "Take the vault's URI from its overview")
        trust = {} if ca_file is None else {"connection_verify": ca_file}
        self._own = None
        if credential is None:
            credential = self._own = azure.credential(name, authority, trust)
        session = requests.Session()
        session.mount("https://", HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS))
        self._client = SecretClient(
            vault_url,
            credential,
            # A private vault's name says nothing about the service that its tokens are for.
            verify_challenge_resource=authority is None,
            transport=RequestsTransport(session=session, **azure.SDK_SETTINGS, **trust),
            user_agent="keyturn",
            **azure.SDK_SETTINGS,
        )
        self._signing_in = threading.Lock()
        self._signed_in = False

    def find(self, remote: str) -> Copy | None:
        """Describe one secret; None where there is none.

        Key Vault can't describe the current version without its value. Listing the versions can, but takes a call
        for every 25 of them, in no order, with dates in whole seconds, so that the newest of two made in one second
        is anybody's guess. So this gets the current version and drops the value unread. Only where that carries no
        marks, or is disabled, the versions are listed: an older one of ours tells that somebody else changed it.
        """
        with self._calling("find", remote):
            return self._find(remote)

    def managed(self) -> Iterator[Copy]:
        """Every copy that carries our marks, 25 to a call; without those that are deleted."""
        with self._calling("list", ANY):
            pages = self._client.list_properties_of_secrets().by_page()
        while (page := self._next(pages)) is not None:
            for properties in page:
                found = _described(properties.name or "", properties)
                if found.marks is not None:
                    yield found

    def write(self, remote: str, value: Sensitive, marks: Marks, found: Copy | None) -> Copy:
        """Set value and marks in one call, and keep the tags and content type that others gave.

        A deleted secret is recovered first, which needs the permission to recover and can take seconds. Raises
        Conflict where ``found`` is None and a deleted secret of somebody else has the name after all.
        """
        self._check(remote, value, marks)
        settled = found is not None and found.intact and found.marks == marks
        with self._calling("write", remote):
            if settled and (same := self._same(remote, value, marks)) is not None:
                return same
            known = found if found is None or isinstance(found, _Found) else self._find(remote)
            return self._set(remote, value, self._tags(remote, known, marks), known)

    def read(self, remote: str) -> Sensitive:
        """The value served now. Raises NotFound, also where the secret is disabled or deleted."""
        with self._calling("read", remote):
            return Sensitive(self._client.get_secret(remote).value or "")

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

    def close(self) -> None:
        """Close the connections, and the credential if it is our own."""
        self._client.close()
        if self._own is not None:
            self._own.close()

    def _next(self, pages: Iterator[Iterator[SecretProperties]]) -> list[SecretProperties] | None:
        """One page of the listing, which may be empty; None after the last."""
        with self._calling("list", ANY):
            page = next(pages, None)
            return None if page is None else list(page)

    def _same(self, remote: str, value: Sensitive, marks: Marks) -> Copy | None:
        """What is served now, if it is this value with these marks."""
        try:
            served = self._client.get_secret(remote)
        except ResourceNotFoundError:
            return None
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
            return None
        copy = _described(remote, served.properties)
        return copy if copy.marks == marks and served.value == value.reveal() else None

    def _find(self, remote: str) -> "_Found | None":
        try:
            properties = self._client.get_secret(remote).properties
        except ResourceNotFoundError:
            return self._find_deleted(remote)
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
            return self._find_in_versions(remote)
        found = _described(remote, properties)
        # Who edits a version and leaves no marks on it has taken them off; whoever sets a value never saw them.
        if found.marks is None and properties.updated_on == properties.created_on:
            return self._find_in_versions(remote, found)
        return found

    def _find_deleted(self, remote: str) -> "_Found | None":
        try:
            deleted = self._client.get_deleted_secret(remote)
        except ResourceNotFoundError:
            return None
        return _described(remote, deleted.properties, intact=False)

    def _find_in_versions(self, remote: str, served: "_Found | None" = None) -> "_Found | None":
        """What is ``served`` (None: it can't be got), with the newest marks that any version carries."""
        history = sorted(self._client.list_properties_of_secret_versions(remote), key=_created)
        if not history:
            return served
        served = served or _described(remote, history[-1], intact=False)
        for properties in reversed(history):
            if (marks := Marks.from_tags(properties.tags or {})) is not None:
                return _Found(remote, served.version_id, marks, False, served.tags, served.content_type)
        return served

    def _set(self, remote: str, value: Sensitive, tags: dict[str, str], known: "_Found | None") -> Copy:
        content_type = known.content_type if known else None
        for pause in PAUSES:
            try:
                secret = self._client.set_secret(remote, value.reveal(), tags=tags, content_type=content_type)
            except ResourceExistsError as error:
                if azure.service_code(error) == RECOVERABLE:
                    self._recover(remote, known)
                else:
                    time.sleep(pause)
            else:
                return _described(remote, secret.properties)
        problem = "its deletion or recovery is still under way"
        raise Locked("write", self._full(remote), problem, "Run it again in a minute")

    def _recover(self, remote: str, known: "_Found | None") -> None:
        """Begin to bring a deleted secret back, unless nobody has seen it and it isn't ours."""
        if known is None and (deleted := self._find_deleted(remote)) is not None and deleted.marks is None:
            hint = "Adopt it in the catalogue, or purge it: az keyvault secret purge"
            raise Conflict("write", self._full(remote), "somebody else's deleted secret has this name", hint)
        with suppress(ResourceNotFoundError):  # somebody recovered it just now
            self._client.begin_recover_deleted_secret(remote)

    def _tags(self, remote: str, known: "_Found | None", marks: Marks) -> dict[str, str]:
        others = {tag: text for tag, text in (known.tags if known else {}).items() if not tag.startswith(OUR_TAGS)}
        tags = {**others, **marks.to_tags()}
        if len(tags) > MAX_TAGS:
            problem = f"{len(others)} tags of others and {len(tags) - len(others)} of ours are over {MAX_TAGS}"
            raise Invalid("write", self._full(remote), problem, "Remove tags that nobody needs")
        return tags

    def _check(self, remote: str, value: Sensitive, marks: Marks) -> None:
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
        with nullcontext() if self._signed_in else self._signing_in, azure.translated(doing, name):
            yield
        self._signed_in = True


@dataclass(frozen=True, eq=False)
class _Found(Copy):
    """A copy with what the next version has to take over."""

    tags: Mapping[str, str] = field(default_factory=dict, repr=False)
    content_type: str | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Copy) and _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))


def _compared(copy: Copy) -> tuple[object, ...]:
    return copy.name, copy.version_id, copy.marks, copy.intact


def _described(remote: str, properties: SecretProperties, *, intact: bool = True) -> _Found:
    tags = properties.tags or {}
    marks = Marks.from_tags(tags)
    version = f"{_created(properties):.0f}"
    if marks is not None:
        version += f"-{marks.version}-{marks.fingerprint[:12]}"
    return _Found(remote, version, marks, intact and properties.enabled is not False, tags, properties.content_type)


def _created(properties: SecretProperties) -> float:
    return properties.created_on.timestamp() if properties.created_on else 0
