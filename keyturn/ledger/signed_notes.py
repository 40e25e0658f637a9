"""Signed notes, as in C2SP's signed-note: a text, a blank line, and a line per signature.

Keys are named Ed25519 keys. On a command line they are ``name+hash+base64``, as in Go's sumdb.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

from keyturn.core.errors import Invalid, Rewritten
from keyturn.core.ports.ledger import Signer

ED25519: Final = b"\x01"
"""The byte of the signature type."""

KEY_SIZE: Final = 32
KEY_ID_SIZE: Final = 4

NOTE_LIMIT: Final = 65_536
"""Maximum characters of a note; a signature takes about 150."""

_NAME: Final = re.compile(r"[^\s+]+")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")

Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether a 64-byte signature is valid for a 32-byte Ed25519 key and a message (RFC 8032)."""


@dataclass(frozen=True)
class PublicKey:
    """A signer's name and key. Raises Invalid for a space or plus in the name, or another key size.

    ``str`` gives the command-line form.
    """

    TYPE: ClassVar[bytes] = ED25519
    OTHER: ClassVar[str] = "it is not whole, or not one of Ed25519"
    """The problem with a malformed text."""

    name: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _nameable(self.name):
            raise Invalid("use", repr(self.name), "it can't name a key", "Choose a name without spaces and plus signs")
        if len(self.key) != KEY_SIZE:
            raise Invalid("use", f"the key {self.name}", "an Ed25519 key has 32 bytes", "Check the key's type")

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that identify the key in signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.TYPE + self.key).digest()[:KEY_ID_SIZE]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.TYPE + self.key).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key in the form for command lines. Raises Invalid."""
        name, key_id, encoded = [*text.strip().split("+", 2), "", ""][:3]
        typed = _decoded(encoded)
        if typed[:1] == cls.TYPE and len(typed) == 1 + KEY_SIZE and _nameable(name):
            public_key = cls(name, typed[1:])
            if public_key.key_id.hex() == key_id:
                return public_key
        hint = "It has the form name+hash+base64, on one line; ask those who run the ledger for it"
        raise Invalid("read", "a public key", cls.OTHER, hint)


def sign_note(text: str, name: str, signer: Signer) -> str:
    """The text as a note signed by ``name``. Raises Invalid unless it is whole non-empty lines."""
    if not text.endswith("\n") or "\n\n" in text or not _printable(text):
        raise Invalid("sign", name, "the text is no note", "Give whole lines, none of them empty")
    key = PublicKey(name, signer.public_key())
    signature = base64.b64encode(key.key_id + signer.sign(text.encode())).decode()
    return f"{text}\n— {name} {signature}\n"


def open_note(note: str, keys: Collection[PublicKey], verify: Verify) -> str:
    """The text of a note that one of ``keys`` signed. Raises Rewritten for none or a wrong signature."""
    text, signatures = _parted(note)
    trusted = False
    for name, key_id, signature in signatures:
        for key in keys:
            if (key.name, key.key_id) == (name, key_id):
                if not verify(key.key, text.encode(), signature):
                    raise _refused(f"the signature of {name} does not hold")
                trusted = True
    if not trusted:
        raise _refused("no key that is trusted has signed it")
    return text


def unverified_text(note: str) -> str:
    """The text of a note, unverified. Raises Rewritten for a malformed note."""
    return _parted(note)[0]


def signed_by(note: str, key: PublicKey) -> bool:
    """Whether the note has a signature line of this key, without checking it."""
    return any((name, key_id) == (key.name, key.key_id) for name, key_id, _ in _parted(note)[1])


def signatures_of(note: str) -> list[tuple[str, bytes, bytes]]:
    """Each signature's key name, id and bytes, unchecked. Raises Rewritten."""
    return _parted(note)[1]


def _parted(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text, and the key name, id and signature of each line."""
    text, blank, lines = note.rpartition("\n\n")
    if not blank or len(note) > NOTE_LIMIT or not lines.endswith("\n") or not _printable(note):
        raise _refused("it is not a signed note")
    return f"{text}\n", list(_signatures(lines))


def _signatures(lines: str) -> Iterator[tuple[str, bytes, bytes]]:
    for line in lines[:-1].split("\n"):
        dash, name, encoded = [*line.split(" "), "", ""][:3]
        decoded = _decoded(encoded)
        if dash != "—" or line.count(" ") != 2 or not _nameable(name) or len(decoded) <= KEY_ID_SIZE:
            raise _refused("a line of its signatures can't be read")
        yield name, decoded[:KEY_ID_SIZE], decoded[KEY_ID_SIZE:]


def _refused(problem: str) -> Rewritten:
    hint = "Compare it with the copy in the hub, and use the key from the hub"
    return Rewritten("verify", "a checkpoint", problem, hint)


def _decoded(encoded: str) -> bytes:
    """Padded standard base64, decoded; empty where malformed."""
    try:
        return base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _nameable(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and _printable(name)


def _printable(text: str) -> bool:
    """Whether it is valid UTF-8 without control characters except newlines."""
    return _UNPRINTABLE.search(text) is None
