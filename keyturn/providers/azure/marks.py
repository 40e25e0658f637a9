"""Copies from the SDK's properties, and from the raw entries of a listing.

Listings contain no version. So ``version_id`` is the second of the creation and, for Keyturn's copies, the hub's
version and the fingerprint's beginning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.core.rest import HttpRequest
from azure.keyvault.secrets import SecretClient, SecretProperties

from keyturn.core.ports.stores import Details, OwnershipTags, RemoteSecret, others
from keyturn.providers.pages import bounded

FIRST_PAGE: Final = "/secrets"
PURGEABLE: Final = "Purgeable"
"""If purge protection is off (source: "DeletionRecoveryLevel")."""


@dataclass(frozen=True, eq=False, slots=True)
class AzureSecret(RemoteSecret):
    """A copy with the properties that the next version keeps; it equals the plain :class:`RemoteSecret`."""

    version: str = field(default="", repr=False)
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)
    content_type: str | None = field(default=None, repr=False)
    purgeable: bool = field(default=True, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteSecret) and _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))


def describe_properties(remote: str, properties: SecretProperties, *, intact: bool = True) -> AzureSecret:
    """Raises ServiceResponseError if they describe no secret."""
    if not properties.id:
        raise ServiceResponseError("the answer is not a secret of Key Vault's")
    enabled = intact and properties.enabled is not False
    tags, content_type, expires_at = properties.tags or {}, properties.content_type, properties.expires_on
    secret = _found(remote, created(properties), tags, content_type, expires_at, enabled)
    purgeable = PURGEABLE in (properties.recovery_level or PURGEABLE)
    return replace(secret, version=properties.version or "", purgeable=purgeable)


def describe_entry(entry: Mapping[str, Any]) -> AzureSecret:
    attributes = entry.get("attributes") or {}
    enabled = attributes.get("enabled") is not False
    made, ends = attributes.get("created", 0), attributes.get("exp")
    expires_at = datetime.fromtimestamp(ends, UTC) if ends else None
    return _found(_name(entry), made, entry.get("tags") or {}, entry.get("contentType"), expires_at, enabled)


def page(client: SecretClient, where: str) -> tuple[Sequence[Mapping[str, Any]], str]:
    """One page's entries, and the next page's address. The SDK's models would take more than twice the CPU time."""
    answer = client.send_request(HttpRequest("GET", where))
    if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        raise HttpResponseError(response=answer)
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("value"), list):
        raise ServiceResponseError("the answer is not a page of Key Vault's")
    return document["value"], document.get("nextLink") or ""


def versions_of(client: SecretClient, remote: str, name: str) -> list[SecretProperties]:
    pages: Any = client.list_properties_of_secret_versions(remote).by_page()
    following = lambda _: pages.continuation_token  # noqa: E731
    return [version for page in bounded(pages, following, "list the versions of", name) for version in page]


def created(properties: SecretProperties) -> float:
    """In seconds since 1970."""
    return properties.created_on.timestamp() if properties.created_on else 0


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id")).partition("/secrets/")[2].partition("/")[0]


def _compared(copy: RemoteSecret) -> tuple[object, ...]:
    return copy.name, copy.version_id, copy.marks, copy.intact


def _found(
    remote: str, made: float, tags: dict[str, str], content_type: str | None, expires_at: datetime | None, intact: bool
) -> AzureSecret:
    marks = OwnershipTags.from_tags(tags)
    version = f"{made:.0f}"
    if marks is not None:
        version += f"-{marks.version}-{marks.fingerprint[:12]}"
    details = Details(others(tags), content_type=content_type or "", expires_at=expires_at).shared
    return AzureSecret(remote, version, marks, intact, details=details, tags=details.tags, content_type=content_type)
