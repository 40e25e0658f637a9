"""Ownership marks as one short text, for services that keep a description, a tag or a second entry next to a value."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from keyturn.core.ports.stores import (
    MANAGED_BY,
    TAG_CATALOGUE,
    TAG_FINGERPRINT,
    TAG_MANAGED_BY,
    TAG_SOURCE,
    OwnershipTags,
)

SAFE: Final = "/:@+"
SEAL: Final = 32
"""Hex digits of a digest."""


@dataclass(frozen=True)
class Note:
    """What an entry says of itself. ``seal`` is of the value that Keyturn wrote; empty before that write is known."""

    marks: OwnershipTags | None = None
    revision: int = 0
    seal: str = ""

    def to_text(self) -> str:
        """The text that :meth:`from_text` reads."""
        tags = self.marks.to_tags() if self.marks else {}
        parts = {
            "source": tags.get(TAG_SOURCE, ""),
            "fingerprint": tags.get(TAG_FINGERPRINT, ""),
            "catalogue": tags.get(TAG_CATALOGUE, ""),
            "revision": str(self.revision),
            "seal": self.seal,
        }
        return " ".join([MANAGED_BY, *(f"{name}={quote(text, SAFE)}" for name, text in parts.items() if text)])

    @staticmethod
    def from_text(text: str) -> "Note":
        """The note in a text of the service; an empty one for texts of others."""
        mark, *pairs = text.split(" ")
        if mark != MANAGED_BY:
            return Note()
        parts = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in pairs)}
        revision = parts.get("revision", "")
        tags = {
            TAG_MANAGED_BY: MANAGED_BY,
            TAG_SOURCE: parts.get("source", ""),
            TAG_FINGERPRINT: parts.get("fingerprint", ""),
            TAG_CATALOGUE: parts.get("catalogue", ""),
        }
        number = int(revision) if revision.isascii() and revision.isdecimal() and len(revision) < 10 else 0
        return Note(OwnershipTags.from_tags(tags), number, parts.get("seal", ""))


def seal_of(value: str) -> str:
    """A digest of a value, which may only be kept where the value itself can be read."""
    return hashlib.sha256(value.encode()).hexdigest()[:SEAL]


def to_name(text: str) -> str:
    """The text in capital letters and digits, for names."""
    return base64.b32encode(text.encode()).decode().rstrip("=")


def from_name(text: str) -> str:
    """The text in such a name; empty for names of others."""
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8)).decode()
    except ValueError:
        return ""
