"""Envelope encryption: content is sealed with a data key of its own, which travels with it, wrapped by another key.

Only the wrapping key has to be kept, and it stays where it is: in a KMS, in the hub's transit engine, in a file. What
is sealed begins with one line in clear, which says by whose key the data key is wrapped and what the content belongs to
(its ``context``); behind it stand a nonce of 12 bytes and AES-256-GCM's ciphertext and tag (NIST SP 800-38D), for which
that whole line is the associated data. The context is bound to the wrapped key, too.
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
"""Bytes of the line in clear; a wrapped key has some two hundred."""
KEY_BYTES: Final = 32


class Refusal(StrEnum):
    """Why something sealed is not believed."""

    MALFORMED = "malformed"
    """It was cut short, or is nothing that was sealed."""
    FOREIGN = "foreign"
    """It belongs to another host, place or purpose."""
    TAMPERED = "tampered"
    """It was changed since it was sealed."""
    KEYLESS = "keyless"
    """The key that wraps its data key is gone, or is another."""
    ROLLED_BACK = "rolled back"
    """It was newer once, or what vouches for it is missing."""
    CLOCK = "clock"
    """The clock stands before it was sealed, so its age can't be told."""


class SealRefused(TerminalError):
    """What is sealed is not believed, and why: ``refusal``."""

    def __init__(self, refusal: Refusal, name: str, problem: str, hint: str = "") -> None:
        super().__init__("open", name, problem, hint)
        self.refusal = refusal

    def advising(self, hint: str) -> "SealRefused":
        """The same with another remedy."""
        return SealRefused(self.refusal, self.name, self.problem, hint)


@dataclass(frozen=True, slots=True)
class DataKey:
    """A fresh key of 32 bytes, in base64, and the same wrapped, as text."""

    key: Sensitive
    wrapped: str


class DataKeys(Protocol):
    """A key that wraps others and stays where it is. ``kind`` stands in what is sealed; serves many threads.

    ``context`` is told to whoever holds the key, in clear, and may be logged there; a data key opens with the very
    context that it was made with, and no other.
    """

    kind: str

    def make(self, context: Mapping[str, str]) -> DataKey:
        """A data key that nobody has used, wrapped by the newest generation of the key.

        Raises Unavailable, Throttled and Denied, and Invalid for settings that can't work.
        """

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        """The data key, 32 bytes in base64, whichever generation has wrapped it.

        Raises the same, and SealRefused where the key, the generation or the context is another.
        """


class Envelope(Protocol):
    """Seals texts and opens them. Serves many threads."""

    def seal(self, text: Sensitive, context: Mapping[str, str]) -> bytes:
        """The text, which nobody can read or change without the key. Raises what :meth:`DataKeys.make` raises."""

    def open(self, sealed: bytes, context: Mapping[str, str]) -> Sensitive:
        """The text that was sealed with this context. Raises SealRefused, and what :meth:`DataKeys.unwrap` raises."""


@dataclass(frozen=True, slots=True)
class SealHeader:
    """The line in clear: the kind of :class:`DataKeys`, the data key that it has wrapped, and the context."""

    kind: str
    wrapped: str
    context: Mapping[str, str]

    def encode(self) -> bytes:
        """The line, with its end."""
        fields = {"keys": self.kind, "wrapped": self.wrapped, "context": dict(self.context)}
        return MAGIC + json.dumps(fields, sort_keys=True).encode() + b"\n"


def parse_sealed(sealed: bytes) -> tuple[SealHeader, bytes, bytes]:
    """The header, its line as it stands there, and what follows. Raises SealRefused."""
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
    """One spelling of a context, for whoever binds bytes to it."""
    return json.dumps(dict(context), sort_keys=True).encode()


def refuse_key(name: str, problem: str, hint: str = "See whether the key was replaced or removed there") -> SealRefused:
    """What is sealed can't be opened since its data key can't be unwrapped."""
    return SealRefused(Refusal.KEYLESS, name, problem, hint)
