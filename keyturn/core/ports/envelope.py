"""Envelope encryption: content is sealed with its own data key, itself wrapped by another key.

Only the wrapping key must be kept, in a KMS, the hub's transit engine or a file. Sealed content is one clear line with
the wrapping key and ``context``, a nonce of 12 bytes, and AES-256-GCM's ciphertext and tag (NIST SP 800-38D), with that
line as associated data. The wrapped key is bound to the context, too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from keyturn.core.errors import TerminalError
from keyturn.core.sensitive import Sensitive

MAGIC: Final = b"keyturn-sealed-1 "
LONGEST_HEADER: Final = 16_384
"""Maximum bytes of the clear line; a wrapped key has about two hundred."""
KEY_BYTES: Final = 32


class Refusal(StrEnum):
    """Why sealed content is rejected."""

    MALFORMED = "malformed"
    """Truncated, or not sealed content."""
    FOREIGN = "foreign"
    """Belongs to another host, place or purpose."""
    TAMPERED = "tampered"
    """Changed since it was sealed."""
    KEYLESS = "keyless"
    """The key that wraps its data key is missing or different."""
    ROLLED_BACK = "rolled back"
    """Older than a known newer one, or the evidence is missing."""
    CLOCK = "clock"
    """The clock is before the sealing time, so the age is unknown."""


class SealRefused(TerminalError):
    """Sealed content was rejected for the reason ``refusal``."""

    def __init__(self, refusal: Refusal, name: str, problem: str, hint: str = "") -> None:
        super().__init__("open", name, problem, hint)
        self.refusal = refusal

    def advising(self, hint: str) -> "SealRefused":
        """The same error with another remedy."""
        return SealRefused(self.refusal, self.name, self.problem, hint)


@dataclass(frozen=True, slots=True)
class DataKey:
    """A new key of 32 bytes in base64, and its wrapped form as text."""

    key: Sensitive
    wrapped: str


class DataKeys(Protocol):
    """A wrapping key that stays in its system. ``kind`` appears in sealed content. Serves many threads.

    ``context`` is sent in clear and may be logged. A data key opens only with its context.
    """

    kind: str

    def make(self, context: Mapping[str, str]) -> DataKey:
        """Create a data key, wrapped by the newest generation.

        Raises Unavailable, Throttled and Denied, and Invalid for unusable settings.
        """

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        """The data key, 32 bytes in base64, whichever generation wrapped it.

        Raises the same, and SealRefused for another key, generation or context.
        """


class Envelope(Protocol):
    """Seals and opens texts. Serves many threads."""

    def seal(self, text: Sensitive, context: Mapping[str, str]) -> bytes:
        """Seal the text against reading and changes. Raises like :meth:`DataKeys.make`."""

    def open(self, sealed: bytes, context: Mapping[str, str]) -> Sensitive:
        """Open text sealed with this context. Raises SealRefused, and like :meth:`DataKeys.unwrap`."""


@dataclass(frozen=True, slots=True)
class SealHeader:
    """The clear line: kind of :class:`DataKeys`, wrapped data key, and context."""

    kind: str
    wrapped: str
    context: Mapping[str, str]

    def encode(self) -> bytes:
        """The line including its end."""
        fields = {"keys": self.kind, "wrapped": self.wrapped, "context": dict(self.context)}
        return MAGIC + json.dumps(fields, sort_keys=True).encode() + b"\n"


def parse_sealed(sealed: bytes) -> tuple[SealHeader, bytes, bytes]:
    """The header, its exact line, and the rest. Raises SealRefused."""
    line = sealed[: sealed.find(b"\n", 0, LONGEST_HEADER) + 1]
    try:
        fields = json.loads(line.removeprefix(MAGIC)) if line.startswith(MAGIC) else None
        return _header(fields), line, sealed[len(line) :]
    except (ValueError, TypeError, LookupError, RecursionError):
        problem = "it was cut short, or is nothing that Keyturn has sealed"
        raise SealRefused(Refusal.MALFORMED, "what is sealed", problem) from None


def _header(fields: Any) -> SealHeader:
    kind, wrapped, context = fields["keys"], fields["wrapped"], fields["context"]
    if not all(isinstance(text, str) for text in (kind, wrapped, *context.values())):
        raise ValueError("not all are texts")
    return SealHeader(kind, wrapped, context)


def encode_context(context: Mapping[str, str]) -> bytes:
    """The canonical bytes of a context."""
    return json.dumps(dict(context), sort_keys=True).encode()


def refuse_key(name: str, problem: str, hint: str = "See whether the key was replaced or removed there") -> SealRefused:
    """The error for a data key that can't be unwrapped."""
    return SealRefused(Refusal.KEYLESS, name, problem, hint)
