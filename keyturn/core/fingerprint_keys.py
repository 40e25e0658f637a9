"""The keys of all fingerprints, by generations: the one in use, those before it, and one that is to follow.

A key is an entry of the hub's state that is written once and never again, so that who may begin a successor can't put
another in place of one: ``fingerprint-key`` is the first, ``fingerprint-keys/2`` the next. That it is in use is an
entry of its own, ``fingerprint-keys/2.used``, and so is the end of the one before, ``fingerprint-keys/1.retired``.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from typing import Any, Final

from keyturn.core.errors import Denied
from keyturn.core.fingerprint import Fingerprint, fingerprint
from keyturn.core.sensitive import Sensitive

FIRST_KEY: Final = "fingerprint-key"
KEYS: Final = "fingerprint-keys"
USED: Final = "used"
RETIRED: Final = "retired"
MOST: Final = 250
"""So many keys count: whoever may begin a successor can't keep others busy with reading them."""
BOUND: Final = "bound"
"""Stands in an entry whose fingerprints are bound to the secret's path: in every one but those of older releases."""


def key_entry(generation: int) -> str:
    """The entry of a key."""
    return FIRST_KEY if generation == 1 else f"{KEYS}/{generation}"


def word_entry(generation: int, word: str) -> str:
    """The entry that says that a key is in use, or retired."""
    return f"{KEYS}/{generation}.{word}"


def generation_of(digest: str) -> int:
    """Under which key a fingerprint was made: that stands behind it, but for the first; 0 for what is none."""
    _, _, number = digest.partition("-")
    if not number:
        return 1 if digest and "-" not in digest else 0
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0


@dataclass(frozen=True)
class FingerprintKey:
    """One key; ``made_at`` is the hub's word."""

    generation: int
    key: Sensitive
    made_at: datetime
    bound: bool = True

    def digest(self, path: str, text: Sensitive) -> str:
        """The fingerprint of a text of the secret at ``path``: 64 hex digits, and the generation behind the first's."""
        whole = Sensitive(f"{path}\0{text.reveal()}") if self.bound else text
        digits = fingerprint(self.key, whole)
        return digits if self.generation == 1 else f"{digits}-{self.generation}"


@dataclass(frozen=True)
class UnreadKey:
    """A key that the login in use may not read: it knows which keys there are, and makes no fingerprint."""

    generation: int
    made_at: datetime
    denied: Denied
    bound: bool = True

    @property
    def key(self) -> Sensitive:
        """Raises Denied."""
        raise self.denied

    def digest(self, path: str, text: Sensitive) -> str:
        """Raises Denied."""
        raise self.denied


@dataclass(frozen=True)
class FingerprintKeys:
    """All keys of a hub, the oldest first, of which one is in use; ``used_since`` tells when that began.

    ``retired`` are those that marks of copies may bear no more.
    """

    keys: tuple[FingerprintKey | UnreadKey, ...]
    in_use: int
    used_since: datetime
    retired: frozenset[int] = frozenset()

    @property
    def readable(self) -> bool:
        """Whether the login in use may make fingerprints."""
        return isinstance(self.current, FingerprintKey)

    @property
    def current(self) -> FingerprintKey | UnreadKey:
        """The key in use."""
        return self.keys[self.in_use - 1]

    @property
    def newest(self) -> FingerprintKey | UnreadKey:
        """The key in use, or the one that is to follow it."""
        return self.keys[-1]

    @cached_property
    def accepted(self) -> tuple[int, ...]:
        """The generations that marks of copies may bear."""
        return tuple(key.generation for key in self.keys if key.generation not in self.retired)

    @property
    def former(self) -> tuple[Sensitive, ...]:
        """The keys that were in use before."""
        return tuple(key.key for key in self.keys if key.generation < self.in_use)

    def make(self, path: str, text: Sensitive) -> Fingerprint:
        """The fingerprint of a text of the secret at ``path``, with what it is under the other keys."""
        others = [(key, key.digest(path, text)) for key in self.keys if key is not self.current]
        return Fingerprint(
            self.current.digest(path, text),
            tuple(digest for key, digest in others if key.generation not in self.retired),
            tuple(digest for key, digest in others if key.generation in self.retired),
        )

    def refuses(self, mark: str) -> bool:
        """Whether a copy's mark was made with a key that is retired, or that this hub does not have."""
        return bool(mark) and generation_of(mark) not in self.accepted

    def outlived(self, mark: str) -> bool:
        """Whether a copy's mark is good, and of a key before the one in use: it is to be marked anew."""
        return 0 < generation_of(mark) < self.in_use and not self.refuses(mark)


def generations(names: Collection[str]) -> Iterator[int]:
    """The keys that entries of these names are, up to the first that is missing: what lies beyond is nobody's."""
    return takewhile(lambda number: number == 1 or str(number) in names, range(1, MOST + 1))


def keys_of(
    keys: tuple[FingerprintKey | UnreadKey, ...], names: Collection[str], used_since: Mapping[int, datetime]
) -> FingerprintKeys:
    """These keys as they are used, told by the entries' ``names``. A key can be retired once a later one is in use."""
    in_use = max((key.generation for key in keys if f"{key.generation}.{USED}" in names), default=1)
    retired = frozenset(number for number in range(1, in_use) if f"{number}.{RETIRED}" in names)
    return FingerprintKeys(keys, in_use, used_since.get(in_use, keys[in_use - 1].made_at), retired)


def read_key(generation: int, data: Mapping[str, Any], made_at: datetime) -> FingerprintKey | None:
    """The key in an entry; None where it holds none."""
    text = data.get("key")
    if not isinstance(text, str) or not text:
        return None
    return FingerprintKey(generation, Sensitive(text), made_at, generation > 1 or bool(data.get(BOUND)))
