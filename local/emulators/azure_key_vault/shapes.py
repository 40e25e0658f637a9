"""What requests and answers look like: names, tags, attributes, pages, base64url."""

import base64
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from local.emulators.azure_key_vault.messages import Request, bad_parameter
from local.emulators.azure_key_vault.state import Entry, Version

NAME: Final = re.compile(r"[0-9A-Za-z-]{1,127}")
PAGE: Final = 25
MAX_TAGS: Final = 15
MAX_TAG_LENGTH: Final = 256
RETENTION_DAYS: Final = 90
DAY: Final = 86_400
PURGEABLE: Final = "Recoverable+Purgeable"
PROTECTED: Final = "Recoverable"
"""What a vault says of its deleted objects: whether they can be purged, or are under purge protection."""
INVALID_PROPERTY: Final = "Property has invalid value\r\n"


@dataclass(frozen=True)
class Kind:
    """The service's words for one kind of object."""

    path: str
    noun: str
    not_found: str

    @property
    def deleted_path(self) -> str:
        """The collection of those that are deleted and recoverable."""
        return f"deleted{self.path}"


# what a request says


def check_name(name: str) -> None:
    """Refuse what is no legal name."""
    if not NAME.fullmatch(name):
        raise bad_parameter(f"The request URI contains an invalid name: {name}")


def text(document: dict[str, Any], name: str) -> str:
    """A member that must be a text."""
    value = document.get(name)
    if not isinstance(value, str):
        raise bad_parameter(INVALID_PROPERTY)
    return value


def tags(document: dict[str, Any]) -> dict[str, str] | None:
    """The tags, within the service's limits; None where there are none."""
    texts = document.get("tags")
    if texts is None:
        return None
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        raise bad_parameter(INVALID_PROPERTY)
    if len(texts) > MAX_TAGS:
        raise bad_parameter(f"The number of tags exceeds the maximum of {MAX_TAGS}")
    if any(len(part) > MAX_TAG_LENGTH for item in texts.items() for part in item):
        raise bad_parameter(f"A tag's name or value is longer than {MAX_TAG_LENGTH} characters")
    return texts


def attributes(document: dict[str, Any]) -> dict[str, Any]:
    """The members of ``attributes`` that are given, under the names of :class:`Version`."""
    members = document.get("attributes") or {}
    if not isinstance(members, dict):
        raise bad_parameter(INVALID_PROPERTY)
    numbers = {name: members[name] for name in ("enabled", "nbf", "exp") if members.get(name) is not None}
    if any(type(value) is not (bool if name == "enabled" else int) for name, value in numbers.items()):
        raise bad_parameter(INVALID_PROPERTY)
    return numbers


def draft(document: dict[str, Any], body: str, now: float) -> Version:
    """A fresh version with the attributes, tags and content type that the request gives."""
    moment = int(now)
    content_type = text(document, "contentType") if document.get("contentType") is not None else None
    held = {"tags": tags(document), "content_type": content_type, "body": body, **attributes(document)}
    return Version(uuid.uuid4().hex, moment, moment, **held)


def page_size(request: Request) -> int:
    """How many items a page may have: 1 to 25."""
    size = request.query.get("maxresults", str(PAGE))
    if not size.isdigit() or not 1 <= int(size) <= PAGE:
        raise bad_parameter(f"Invalid maxresults value: it must be between 1 and {PAGE}")
    return int(size)


def marker(request: Request) -> str:
    """Where the page begins."""
    try:
        return decode(request.query.get("$skiptoken", "")).decode()
    except ValueError:
        raise bad_parameter("The skiptoken is not valid") from None


# what an answer says


def page(request: Request, items: Sequence[dict[str, Any]], last: str | None) -> dict[str, Any]:
    """A page, with the address of the next where there is one."""
    if last is None:
        return {"value": items, "nextLink": None}
    keep = {"api-version": request.query["api-version"], "$skiptoken": encode(last.encode())}
    if "maxresults" in request.query:
        keep["maxresults"] = request.query["maxresults"]
    query = "&".join(f"{name}={value}" for name, value in keep.items())
    return {"value": items, "nextLink": f"{request.base}/{'/'.join(request.parts)}?{query}"}


def told_attributes(version: Version, recovery_level: str = PURGEABLE) -> dict[str, Any]:
    """The ``attributes`` member of an answer."""
    dates = {"nbf": version.nbf, "exp": version.exp}
    return {
        "enabled": version.enabled,
        **{name: moment for name, moment in dates.items() if moment is not None},
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": recovery_level,
        "recoverableDays": RETENTION_DAYS,
    }


def told_deletion(kind: Kind, base: str, entry: Entry) -> dict[str, Any]:
    """What an answer adds about a deleted entry."""
    deleted = int(entry.deleted or 0)
    return {
        "recoveryId": f"{base}/{kind.deleted_path}/{entry.name}",
        "deletedDate": deleted,
        "scheduledPurgeDate": deleted + RETENTION_DAYS * DAY,
    }


def encode(raw: bytes) -> str:
    """Base64url without padding, as the service writes it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """What :func:`encode` made, with or without padding. Raises ValueError."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
