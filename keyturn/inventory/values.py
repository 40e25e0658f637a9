"""Values as they are compared with each other: by digests under a key that ends with the process, never by themselves.

Fingerprints of the hub are bound to a secret's path, and their key is made at first use. Here one value is looked for
at every path and name, and nothing may be written: so the key is a random one that nobody keeps.
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
"""Texts that many secrets hold, in small letters."""

SHORTEST: Final = 6
"""Characters below which a text tells nothing."""
FEWEST_DIGITS: Final = 10
"""Digits below which a number tells nothing: ports, years, counts."""
STRONG_LENGTH: Final = 16
MIXED_LENGTH: Final = 12
"""Characters of a text that has three kinds of them, to be strong."""
DISTINCT: Final = 8
"""Different characters of a strong text."""
MOMENT: Final = re.compile(r"[0-9TZ:.,+ -]+")
"""What dates and lists of numbers are made of."""
WORD: Final = re.compile(r"[A-Z]?[a-z]{1,15}([A-Z][a-z]{1,15}){0,3}\d{0,8}|[A-Z]*\d{0,8}|\d{1,4}[a-z]{0,4}")
"""What names, hosts, addresses, settings and URLs are made of, between their signs."""
LONGEST_WORD: Final = 20
SHORTEST_WORDS: Final = 3
"""Characters of such a word at most, and of all words of a text on average at least."""
KINDS: Final = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"), re.compile("[^A-Za-z0-9]"))


class Strength(IntEnum):
    """How much it tells that two places hold one value."""

    COMMON = 0
    """Nothing: empty, short, a truth value, a port, or what people write before they think of something."""
    PLAIN = 1
    """Little: a name, a host, an address."""
    STRONG = 2
    """That one is a copy of the other: nobody comes upon it twice."""


def strength_of(text: Sensitive) -> Strength:
    """How much it tells that two places hold this text."""
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
    """Whether a text is made of words and numbers, as what people write is."""
    if MOMENT.fullmatch(text):
        return True
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text) if word]
    short = sum(map(len, words)) < SHORTEST_WORDS * len(words)
    return not short and all(len(word) <= LONGEST_WORD and WORD.fullmatch(word) for word in words)


@dataclass(frozen=True)
class Value:
    """One value, told without it.

    ``text`` is the digest of its text, ``typed`` tells ``1`` from ``"1"`` besides, ``encoded`` is that of its base64.
    """

    text: str
    typed: str
    encoded: str
    strength: Strength


@dataclass(frozen=True)
class Held:
    """Several values under their names, told without them.

    ``whole`` is the digest of all of them as one object, ``texts`` the same where every value is its text.
    """

    fields: Mapping[str, Value]
    whole: str
    texts: str

    @property
    def strength(self) -> Strength:
        """That of the strongest of them."""
        return max((value.strength for value in self.fields.values()), default=Strength.COMMON)


@dataclass(frozen=True)
class Digests:
    """Makes them, under a key of this process."""

    key: Sensitive = field(default_factory=lambda: Sensitive(secrets.token_hex(32)))

    def of_text(self, text: Sensitive) -> str:
        """The digest of a text."""
        # Half a character is no UTF-8, and may stand in JSON all the same.
        whole = Sensitive(text.reveal().encode(errors="backslashreplace").decode())
        return fingerprint(self.key, whole)

    def value(self, value: Any) -> Value:
        """One value of a secret, of any JSON type."""
        text = SecretFields({"": value})[""]
        kind = "text" if isinstance(value, str) else "json"
        typed = self.of_text(Sensitive(f"{kind}\0{text.reveal()}"))
        strength = Strength.COMMON if isinstance(value, bool | int | float | None) else strength_of(text)
        encoded = Sensitive(base64.b64encode(text.reveal().encode(errors="surrogatepass")).decode())
        return Value(self.of_text(text), typed, self.of_text(encoded), strength)

    def held(self, fields: SecretFields) -> Held:
        """All fields of a secret."""
        texts = SecretFields({name: fields[name] for name in fields})
        values = {name: self.value(value) for name, value in fields.reveal().items()}
        return Held(values, self.of_text(payload(fields)), self.of_text(payload(texts)))
