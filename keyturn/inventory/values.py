"""Compare values only by digests, under a key that ends with the process.

The hub's fingerprints are bound to a secret's path, and their key is created at first use. This comparison looks for a
value at every path and name, and must write nothing. Its key is therefore random and not stored.
"""

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from keyturn.core.fingerprint import fingerprint, payload
from keyturn.core.sensitive import SecretFields, Sensitive

_COMMON: Final = (
    "admin administrator app changeme change-me change_me default demo dev development dummy empty example false foo"
    " foobar guest hello letmein localhost master mysql n/a na nil no none null off on passw0rd password password1"
    " password123 placeholder postgres prod production qwerty redis replaceme root sa secret service staging tbd temp"
    " test tester testing todo true unknown user username welcome xxx xxxx yes 127.0.0.1"
)
COMMON: Final = frozenset(_COMMON.split())
"""Texts that many secrets hold, in lower case."""

SHORTEST: Final = 6
"""The length below which a text counts as common."""
FEWEST_DIGITS: Final = 10
"""The number of digits below which a number counts as common: ports, years, counts."""
STRONG_LENGTH: Final = 16
MIXED_LENGTH: Final = 12
"""The minimum length of a strong text with three kinds of characters."""
DISTINCT: Final = 8
"""The minimum number of different characters in a strong text."""
MOMENT: Final = re.compile(r"[0-9TZ:.,+ -]+")
"""The characters of dates and lists of numbers."""
WORD: Final = re.compile(r"[A-Z]?[a-z]{1,15}([A-Z][a-z]{1,15}){0,3}\d{0,8}|[A-Z]*\d{0,8}|\d{1,4}[a-z]{0,4}")
"""The words in names, hosts, addresses, settings and URLs."""
LONGEST_WORD: Final = 20
SHORTEST_WORDS: Final = 3
"""Maximum length of such a word, and minimum average length of a text's words."""
KINDS: Final = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"), re.compile("[^A-Za-z0-9]"))


class Strength(IntEnum):
    """How strongly an equal value in two places suggests a copy."""

    COMMON = 0
    """No evidence: empty, short, a boolean, a port, or a common placeholder."""
    PLAIN = 1
    """Weak evidence: a name, a host, an address."""
    STRONG = 2
    """Proof of a copy: such a value does not occur twice by accident."""


def strength_of(text: Sensitive) -> Strength:
    shown = text.reveal().strip()
    if len(shown) < SHORTEST or shown.casefold() in COMMON or len(set(shown)) < 3:
        return Strength.COMMON
    if re.fullmatch(r"[0-9.,:+-]+", shown) and sum(map(str.isdigit, shown)) < FEWEST_DIGITS:
        return Strength.COMMON
    kinds = sum(bool(kind.search(shown)) for kind in KINDS)
    long = len(shown) >= STRONG_LENGTH or (len(shown) >= MIXED_LENGTH and kinds >= 3)
    drawn = long and len(set(shown)) >= DISTINCT and not is_worded(shown)
    return Strength.STRONG if drawn else Strength.PLAIN


def is_worded(text: str) -> bool:
    if MOMENT.fullmatch(text):
        return True
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text) if word]
    short = sum(map(len, words)) < SHORTEST_WORDS * len(words)
    return not short and all(len(word) <= LONGEST_WORD and WORD.fullmatch(word) for word in words)


@dataclass(frozen=True)
class Value:
    """A value's digests.

    ``text`` is the digest of its text, ``typed`` also distinguishes ``1`` from ``"1"``, and ``encoded`` is for its
    base64.
    """

    text: str
    typed: str
    encoded: str
    strength: Strength


@dataclass(frozen=True)
class Held:
    """The digests of several values under their names.

    ``whole`` is the digest of all values as one object. ``texts`` is the same with every value as a text.
    """

    fields: Mapping[str, Value]
    whole: str
    texts: str

    @property
    def strength(self) -> Strength:
        return max((value.strength for value in self.fields.values()), default=Strength.COMMON)


@dataclass(frozen=True)
class Digests:
    """Computes digests under a key of this process."""

    key: Sensitive = field(default_factory=lambda: Sensitive(secrets.token_hex(32)))

    def of_text(self, text: Sensitive) -> str:
        # JSON may contain unpaired surrogates, which are not valid UTF-8.
        whole = Sensitive(text.reveal().encode(errors="backslashreplace").decode())
        return fingerprint(self.key, whole)

    def value(self, value: Any) -> Value:
        text = SecretFields({"": value})[""]
        kind = "text" if isinstance(value, str) else "json"
        typed = self.of_text(Sensitive(f"{kind}\0{text.reveal()}"))
        strength = Strength.COMMON if isinstance(value, bool | int | float | None) else strength_of(text)
        encoded = Sensitive(base64.b64encode(text.reveal().encode(errors="surrogatepass")).decode())
        return Value(self.of_text(text), typed, self.of_text(encoded), strength)

    def held(self, fields: SecretFields) -> Held:
        texts = SecretFields({name: fields[name] for name in fields})
        values = {name: self.value(value) for name, value in fields.reveal().items()}
        return Held(values, self.of_text(payload(fields)), self.of_text(payload(texts)))
