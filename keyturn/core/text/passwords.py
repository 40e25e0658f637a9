"""Policies for generated values: format, entropy, and unbiased generation."""

import base64
import math
import re
import secrets
import string
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.checksummed_tokens import BASE62, PREFIX, token, token_flaw
from keyturn.core.text.wording import WORD_BITS, english, passphrase_flaw

LOWER: Final = "lower"
UPPER: Final = "upper"
DIGIT: Final = "digit"
SYMBOL: Final = "symbol"

CLASSES: Final[dict[str, str]] = {
    LOWER: string.ascii_lowercase,
    UPPER: string.ascii_uppercase,
    DIGIT: string.digits,
    SYMBOL: "!*+-.=_~",
}
"""Characters by class. Symbols need no escaping in a URL, in JSON or in quoted YAML (RFC 3986)."""

PRINTABLE: Final = frozenset(string.digits + string.ascii_letters + string.punctuation)
"""Allowed in an alphabet: printable ASCII without space, which every system passes on."""

SEPARATORS: Final = frozenset(string.digits + string.punctuation + " ")
"""Allowed passphrase separators: no letters, so words stay distinguishable."""

UUID_BITS: Final = 122
"""RFC 9562, UUID version 4: 128 bits minus six for version and variant."""

MOST_TRIES: Final = 1000
REMEMBERED: Final = 256
"""Number of policies whose value count is cached."""
_HEX: Final = "0123456789abcdef"
_LAST: Final = ("[A-Za-z0-9_-]", "[AQgw]", "[AEIMQUYcgkosw048]")
"""The last Base64 character by length modulo three: its spare bits are zero (RFC 4648)."""


class Form(StrEnum):
    """The format of a generated value."""

    PASSWORD = "password"
    HEX = "hex"
    UUID = "uuid"
    URL_SAFE = "url-safe"
    PASSPHRASE = "passphrase"
    TOKEN = "token"


USUAL_LENGTHS: Final = {Form.PASSPHRASE: 12, Form.TOKEN: 30}
"""132 bits, and GitHub's 178; other forms default to 32."""

UNITS: Final = {Form.PASSPHRASE: "words", Form.TOKEN: "characters"}
"""Unit of a form's length; bytes for hex and url-safe."""

OPTIONS: Final = {
    Form.PASSWORD: ("alphabet", "classes"),
    Form.PASSPHRASE: ("separator",),
    Form.TOKEN: ("prefix",),
}
"""Options that apply to only one form."""

Draw = Callable[[Sequence[str]], str]
"""Draws one item with uniform probability."""


@dataclass(frozen=True)
class PasswordPolicy:
    """How one value is generated. Raises Invalid if unsatisfiable.

    ``length`` counts characters for ``password``, random bytes for ``hex`` and ``url-safe``, words for ``passphrase``,
    random characters for ``token``; None means 32, or 12 words, or 30 for a token. ``alphabet`` replaces the classes'
    characters. Each of ``classes`` must appear (None: lower, upper and digit, or none with an alphabet).
    ``minimum_entropy`` is in bits. ``separator`` (None: a hyphen) separates words. ``prefix`` and an underscore precede
    a token.
    """

    form: Form = Form.PASSWORD
    length: int | None = None
    alphabet: str | None = None
    classes: tuple[str, ...] | None = None
    minimum_entropy: float = 128
    separator: str | None = None
    prefix: str | None = None

    def __post_init__(self) -> None:
        for check in (_options, _shape, _alphabet, _classes, _separator, _prefix, _reach, _pace):
            if flaw_and_remedy := check(self):
                raise Invalid("use", "password policy", *flaw_and_remedy)

    @property
    def size(self) -> int:
        """The effective length: characters, random bytes or words."""
        return USUAL_LENGTHS.get(self.form, 32) if self.length is None else self.length

    @property
    def required(self) -> tuple[str, ...]:
        """The classes that each value must contain."""
        if self.form is not Form.PASSWORD:
            return ()
        if self.classes is not None:
            return self.classes
        return () if self.alphabet is not None else (LOWER, UPPER, DIGIT)

    @property
    def characters(self) -> str:
        """The characters of a password."""
        return "".join(CLASSES[name] for name in self.required) if self.alphabet is None else self.alphabet

    @property
    def between(self) -> str:
        """The separator of a passphrase's words."""
        return "-" if self.separator is None else self.separator

    def entropy(self) -> float:
        """Bits: the binary logarithm of the number of equally likely values."""
        match self.form:
            case Form.UUID:
                return UUID_BITS
            case Form.PASSWORD:
                values = _values(self)
                return math.log2(values) if values else 0.0
            case Form.PASSPHRASE:
                return float(WORD_BITS * self.size)
            case Form.TOKEN:
                return math.log2(len(BASE62)) * self.size
            case _:
                return 8.0 * self.size


Flaw = tuple[str, str] | None


def _options(policy: PasswordPolicy) -> Flaw:
    for form, names in OPTIONS.items():
        if form is not policy.form and any(getattr(policy, name) is not None for name in names):
            problem = f"{' and '.join(names)} {'don' if len(names) > 1 else 'doesn'}'t apply to the form {policy.form}"
            return problem, f"Remove {'them' if len(names) > 1 else 'it'}, or use the form {form}."
    return None


def _shape(policy: PasswordPolicy) -> Flaw:
    if policy.form is Form.UUID and policy.length is not None:
        return "the length of a uuid is fixed", "Remove length."
    usual = USUAL_LENGTHS.get(policy.form, 32)
    return None if policy.size > 0 else ("a length below 1 leaves nothing", f"Use {usual}.")


def _alphabet(policy: PasswordPolicy) -> Flaw:
    alphabet = policy.alphabet
    if alphabet is None:
        return None
    if not set(alphabet) <= PRINTABLE:
        return "the alphabet holds more than printable ASCII", "Use letters, digits and punctuation, and no space."
    if len(set(alphabet)) != len(alphabet):
        return "the alphabet names a character twice, which would make it likelier", "Name each character once."
    return None if len(alphabet) > 1 else ("the alphabet has fewer than two characters", "Name more, or leave it out.")


def _classes(policy: PasswordPolicy) -> Flaw:
    if policy.form is not Form.PASSWORD:
        return None
    if unknown := [name for name in policy.required if name not in CLASSES]:
        return f"there is no class {unknown[0]}", f"Choose from {', '.join(CLASSES)}."
    if len(set(policy.required)) != len(policy.required):
        return "a class is named twice", "Name each class once."
    if not policy.characters:
        return "no characters are left to choose from", "Name at least one class, or an alphabet."
    absent = [name for name in policy.required if not _count(policy, (name,))]
    remedy = "Add some, or drop the class."
    return (f"the alphabet has no character of the class {absent[0]}", remedy) if absent else None


def _separator(policy: PasswordPolicy) -> Flaw:
    if policy.separator is None or (len(policy.separator) == 1 and policy.separator in SEPARATORS):
        return None
    problem = "words need one character between them that is no letter, or they could be read in several ways"
    return problem, "Use a hyphen, a space, a digit or another sign of ASCII."


def _prefix(policy: PasswordPolicy) -> Flaw:
    if policy.form is not Form.TOKEN:
        return None
    if policy.prefix is None:
        return "a token begins with a prefix that names its issuer", "Set prefix, such as acme_live."
    if not re.fullmatch(PREFIX, policy.prefix):
        remedy = "Use 2 to 40 letters, digits and single underscores; the underscore after it is set by itself."
        return "the prefix is not a legal one", remedy
    return None


def _reach(policy: PasswordPolicy) -> Flaw:
    has = policy.entropy()
    if has >= policy.minimum_entropy:
        return None
    problem = (
        f"its values hold {math.floor(has)} bits of entropy, and minimum_entropy asks for {policy.minimum_entropy:g}"
    )
    if policy.form is Form.UUID:
        return problem, f"Use another form, or accept it with minimum_entropy: {UUID_BITS}."
    if policy.form is not Form.PASSWORD:
        needed = math.ceil(policy.minimum_entropy * policy.size / has)
        return problem, f"Set length to {needed} {UNITS.get(policy.form, 'bytes')} or more."
    return problem, "Raise length, or allow more characters."


def _pace(policy: PasswordPolicy) -> Flaw:
    """Refuse a policy that random texts rarely satisfy, since generation would be slow."""
    if policy.form is not Form.PASSWORD or len(policy.characters) ** policy.size <= MOST_TRIES * _values(policy):
        return None
    return "fewer than one random text in a thousand shows every class", "Raise length, or drop a class."


def _class_of(character: str) -> str:
    return next((n for n in (LOWER, UPPER, DIGIT) if character in CLASSES[n]), SYMBOL)


@lru_cache(maxsize=REMEMBERED)
def _count(policy: PasswordPolicy, classes: tuple[str, ...]) -> int:
    return sum(_class_of(character) in classes for character in policy.characters)


@lru_cache(maxsize=REMEMBERED)
def _values(policy: PasswordPolicy) -> int:
    """The number of passwords, by inclusion and exclusion over absent classes.

    Cached: it is costly, and thousands of secrets share few policies.
    """
    total, size = len(policy.characters), policy.size
    return sum(
        (-1) ** k * (total - _count(policy, absent)) ** size
        for k in range(len(policy.required) + 1)
        for absent in combinations(policy.required, k)
    )


def generate(policy: PasswordPolicy, choice: Draw = secrets.choice) -> Sensitive:
    """A new value, uniformly distributed over all that the policy allows."""
    match policy.form:
        case Form.PASSWORD:
            return Sensitive(_password(policy, choice))
        case Form.HEX:
            return Sensitive(_octets(policy.size, choice).hex())
        case Form.URL_SAFE:
            return Sensitive(base64.urlsafe_b64encode(_octets(policy.size, choice)).rstrip(b"=").decode())
        case Form.UUID:
            return Sensitive(str(uuid.UUID(bytes=_octets(16, choice), version=4)))
        case Form.PASSPHRASE:
            return Sensitive(policy.between.join(choice(english()) for _ in range(policy.size)))
        case Form.TOKEN:
            return Sensitive(token(policy.prefix or "", "".join(choice(BASE62) for _ in range(policy.size))))


def _octets(count: int, choice: Draw) -> bytes:
    return bytes.fromhex("".join(choice(_HEX) for _ in range(2 * count)))


def _password(policy: PasswordPolicy, choice: Draw) -> str:
    """Draw whole texts until one has every class; placing and shuffling would be biased."""
    characters, required = policy.characters, set(policy.required)
    while True:
        text = "".join(choice(characters) for _ in range(policy.size))
        if required <= {_class_of(character) for character in text}:
            return text


def password_flaw(policy: PasswordPolicy, value: Sensitive) -> str | None:
    """How ``value`` violates its policy, without revealing it; None if it complies."""
    match policy.form:
        case Form.PASSWORD:
            return _password_flaw(policy, value.reveal())
        case Form.HEX:
            legal = re.fullmatch(f"[0-9a-f]{{{2 * policy.size}}}", value.reveal())
            return None if legal else f"it is not {2 * policy.size} hexadecimal digits"
        case Form.URL_SAFE:
            digits = math.ceil(policy.size * 4 / 3)
            legal = re.fullmatch(f"[A-Za-z0-9_-]{{{digits - 1}}}{_LAST[policy.size % 3]}", value.reveal())
            return None if legal else f"it is not {digits} characters of URL-safe Base64"
        case Form.UUID:
            legal = re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", value.reveal())
            return None if legal else "it is not a UUID of version 4 in its usual form"
        case Form.PASSPHRASE:
            return passphrase_flaw(value.reveal(), policy.between, policy.size)
        case Form.TOKEN:
            return token_flaw(value.reveal(), policy.prefix or "", policy.size)


def _password_flaw(policy: PasswordPolicy, text: str) -> str | None:
    if len(text) != policy.size:
        return f"it has {len(text)} characters, not {policy.size}"
    if not set(text) <= set(policy.characters):
        return "it holds a character outside the alphabet"
    absent = [name for name in policy.required if name not in {_class_of(character) for character in text}]
    return f"it has no character of the class {absent[0]}" if absent else None
