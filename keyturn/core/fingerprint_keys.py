"""The fingerprint keys by generation: earlier ones, the one in use, a prepared successor.

A key's state entry is written once, so a login that may begin a successor can't replace a key: ``fingerprint-key`` is
the first, ``fingerprint-keys/2`` the next. Separate entries put it in use, ``fingerprint-keys/2.used``, and retire the
previous one, ``fingerprint-keys/1.retired``.
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
"""Maximum keys that count, so that excess successors slow no one down."""
BOUND: Final = "bound"
"""Marks an entry whose fingerprints are bound to the secret's path; absent in older releases."""


def key_entry(generation: int) -> str:
    """The entry of a key."""
    return FIRST_KEY if generation == 1 else f"{KEYS}/{generation}"


def word_entry(generation: int, word: str) -> str:
    """The entry that marks a key as in use or retired."""
    return f"{KEYS}/{generation}.{word}"


def generation_of(digest: str) -> int:
    """A fingerprint's generation suffix: 1 without one, 0 if malformed."""
    _, _, number = digest.partition("-")
    if not number:
        return 1 if digest and "-" not in digest else 0
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0


@dataclass(frozen=True)
class FingerprintKey:
    """One key; ``made_at`` is by the hub's clock."""

    generation: int
    key: Sensitive
    made_at: datetime
    bound: bool = True

    def digest(self, path: str, text: Sensitive) -> str:
        """A fingerprint for ``path``: 64 hex digits, plus the generation unless the first."""
        whole = Sensitive(f"{path}\0{text.reveal()}") if self.bound else text
        digits = fingerprint(self.key, whole)
        return digits if self.generation == 1 else f"{digits}-{self.generation}"


@dataclass(frozen=True)
class UnreadKey:
    """A key that the login may not read: it makes no fingerprints."""

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
    """All keys of a hub, oldest first, one in use since ``used_since``.

    ``retired`` generations are no longer allowed in copies' marks.
    """

    keys: tuple[FingerprintKey | UnreadKey, ...]
    in_use: int
    used_since: datetime
    retired: frozenset[int] = frozenset()

    @property
    def readable(self) -> bool:
        """Whether the login may make fingerprints."""
        return isinstance(self.current, FingerprintKey)

    @property
    def current(self) -> FingerprintKey | UnreadKey:
        """The key in use."""
        return self.keys[self.in_use - 1]

    @property
    def newest(self) -> FingerprintKey | UnreadKey:
        """The prepared successor, or else the key in use."""
        return self.keys[-1]

    @cached_property
    def accepted(self) -> tuple[int, ...]:
        """The generations allowed in copies' marks."""
        return tuple(key.generation for key in self.keys if key.generation not in self.retired)

    @property
    def former(self) -> tuple[Sensitive, ...]:
        """The keys used before."""
        return tuple(key.key for key in self.keys if key.generation < self.in_use)

    def make(self, path: str, text: Sensitive) -> Fingerprint:
        """The fingerprint for ``path``, with those under the other keys."""
        others = [(key, key.digest(path, text)) for key in self.keys if key is not self.current]
        return Fingerprint(
            self.current.digest(path, text),
            tuple(digest for key, digest in others if key.generation not in self.retired),
            tuple(digest for key, digest in others if key.generation in self.retired),
        )

    def refuses(self, mark: str) -> bool:
        """Whether a copy's mark uses a retired or unknown key."""
        return bool(mark) and generation_of(mark) not in self.accepted

    def outlived(self, mark: str) -> bool:
        """Whether a copy's mark uses an earlier accepted key, and so needs renewal."""
        return 0 < generation_of(mark) < self.in_use and not self.refuses(mark)


def generations(names: Collection[str]) -> Iterator[int]:
    """The keys in these entry names, up to the first gap."""
    return takewhile(lambda number: number == 1 or str(number) in names, range(1, MOST + 1))


def keys_of(
    keys: tuple[FingerprintKey | UnreadKey, ...], names: Collection[str], used_since: Mapping[int, datetime]
) -> FingerprintKeys:
    """The keys with their use according to ``names``. Only keys before the one in use can be retired."""
    in_use = max((key.generation for key in keys if f"{key.generation}.{USED}" in names), default=1)
    retired = frozenset(number for number in range(1, in_use) if f"{number}.{RETIRED}" in names)
    return FingerprintKeys(keys, in_use, used_since.get(in_use, keys[in_use - 1].made_at), retired)


def read_key(generation: int, data: Mapping[str, Any], made_at: datetime) -> FingerprintKey | None:
    """The key in an entry; None if it has none."""
    text = data.get("key")
    if not isinstance(text, str) or not text:
        return None
    return FingerprintKey(generation, Sensitive(text), made_at, generation > 1 or bool(data.get(BOUND)))
