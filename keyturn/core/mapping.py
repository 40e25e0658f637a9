"""From a secret's fields to the text of one copy: the whole of it, some fields, one field, or a template.

A template holds ``{field}`` where a field's value goes; ``{{`` and ``}}`` stand for braces themselves.
"""

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from string import Formatter
from typing import Any, Final
from urllib.parse import quote

from keyturn.core.fingerprint import payload
from keyturn.core.sensitive import SecretFields, Sensitive


class Escape(StrEnum):
    """How a value is written inside a template, so that its own characters stay its own."""

    NONE = "none"
    URL = "url"
    """Percent-encoded (RFC 3986); an IPv6 address as the URL's host, and nowhere else, gets its brackets."""
    LIBPQ = "libpq"
    """PostgreSQL's keyword/value strings: in single quotes."""
    ODBC = "odbc"
    """ODBC connection strings: a password always in braces, another value where ODBC asks for them.

    PostgreSQL's driver decodes ``%41`` and ``+`` in a password without braces, and knows them nowhere else.
    """
    ADO = "ado"
    """ADO.NET connection strings: in double quotes where it needs them."""
    JSON = "json"
    """The inside of a JSON string."""


class Encoding(StrEnum):
    """What is done with the finished text."""

    TEXT = "text"
    BASE64 = "base64"
    """The text is encoded in base64."""
    FROM_BASE64 = "from-base64"
    """The text is base64, and the copy is what it encodes."""
    PEM = "pem"
    """The text is PEM: lines end as everywhere else, and so does the last."""


class Unfit(ValueError):
    """A copy can't be made of these fields; the text says why, without a value."""


URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
ODBC_PASSWORD: Final = re.compile(r"(?i)(^|;)\s*(pwd|password)\s*=\s*\{?\Z")
ODBC_SPECIAL: Final = re.compile(r"[\[\]{}(),;?*=!]")
"""What ODBC wants in braces, without @: Azure and PostgreSQL's driver take it bare in a user's name."""
PEM: Final = re.compile(r"(-----BEGIN ([A-Z0-9 ]+)-----\n([A-Za-z0-9+/=:, -]*\n)+-----END \2-----\n)+")


@dataclass(frozen=True)
class Shape:
    """How one copy is made of its secret. ``fields`` are pairs of the name in the copy and the field's own."""

    fields: tuple[tuple[str, str], ...] = ()
    field: str = ""
    template: str = ""
    escape: Escape | None = None
    encoding: Encoding = Encoding.TEXT

    @property
    def mark(self) -> str:
        """Eight digits that tell this shape from others; empty for the whole secret as it is."""
        if self == WHOLE:
            return ""
        said = [self.fields, self.field, self.template, self.escape, self.encoding]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]

    @property
    def asks_for(self) -> tuple[str, ...]:
        """The fields that it needs."""
        if self.template:
            return tuple(name for _, name, _, _ in Formatter().parse(self.template) if name is not None)
        return (self.field,) if self.field else tuple(field for _, field in self.fields)

    def render(self, fields: SecretFields) -> Sensitive:
        """The copy's text. Raises Unfit where a field is missing, or the text can't be a copy."""
        if lacking := sorted({name for name in self.asks_for if name not in fields}):
            raise Unfit(f"the secret has no field {' and no field '.join(lacking)}")
        return _encoded(self.encoding, self._text(fields))

    def invert(self, text: Sensitive) -> Mapping[str, Any]:
        """The secret's fields that a copy's text holds, by their own names. Raises Unfit where that can't be told."""
        if self.template or self.field:
            raise Unfit("it is made by a template" if self.template else "it holds one field alone")
        if self.encoding not in (Encoding.TEXT, Encoding.BASE64):
            raise Unfit(f"its encoding, {self.encoding}, can't be undone")
        try:
            plain = text.reveal() if self.encoding is Encoding.TEXT else _from_base64(text.reveal())
            held = json.loads(plain)
            return {own: held[new] for new, own in self.fields} if self.fields else dict(held)
        except (ValueError, KeyError, TypeError):
            raise Unfit("it is not what Keyturn writes for a whole secret") from None

    def _text(self, fields: SecretFields) -> Sensitive:
        if self.template:
            return Sensitive(_filled(self.template, fields, ESCAPES[self.escape or default_escape(self.template)]))
        if self.field:
            return fields[self.field]
        values = fields.reveal()
        return payload(SecretFields({new: values[old] for new, old in self.fields}) if self.fields else fields)


WHOLE: Final = Shape()
"""All fields as one JSON object."""


def default_escape(template: str) -> Escape:
    """URLs are told by their beginning."""
    return Escape.URL if URL.match(template) else Escape.NONE


def flaw(template: str) -> str | None:
    """What is wrong with a template; None when it is sound."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        return "its braces don't fit together"
    if any(spec or conversion for _, _, spec, conversion in parts):
        return "a place holds a field's name and nothing else"
    names = [name for _, name, _, _ in parts if name is not None]
    if not names:
        return "it holds no field"
    return None if all(re.fullmatch(r"[\w.-]+", name) for name in names) else "a place holds no legal field name"


@dataclass(frozen=True)
class Place:
    """Where a value goes: the text ``before`` it, and the template ``after`` it, with ``*`` for each field."""

    before: str
    after: str

    def within(self, opening: str, closing: str) -> bool:
        """Whether the template itself has put these around the place."""
        return self.before.endswith(opening) and self.after.startswith(closing)

    @property
    def is_host(self) -> bool:
        """Whether it is the host of a URL, or one of several: no user name, no password, no part of path or query."""
        authority = re.fullmatch(r"[^/?#]*://([^/?#]*[@,])?", self.before)
        return authority is not None and "@" not in re.split(r"[/?#]", self.after, maxsplit=1)[0]


def _filled(template: str, fields: SecretFields, escape: "Callable[[str, Place], str]") -> str:
    parts = list(Formatter().parse(template))
    made = ""
    for index, (literal, name, _, _) in enumerate(parts):
        made += literal
        if name is not None:
            after = "".join(text + ("" if other is None else "*") for text, other, _, _ in parts[index + 1 :])
            made += escape(fields[name].reveal(), Place(made, after))
    return made


def _url(value: str, place: Place) -> str:
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if place.is_host and _is_ipv6(bare):
        return f"[{quote(bare, safe=':')}]"
    return quote(value, safe="")


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _libpq(value: str, place: Place) -> str:
    return _quoted(_no_null(value).replace("\\", "\\\\").replace("'", "\\'"), place, "'", "'")


def _odbc(value: str, place: Place) -> str:
    if value.strip() != value:
        raise Unfit("a value begins or ends with white space, which MariaDB's ODBC driver takes off, in braces too")
    if value and not (ODBC_PASSWORD.search(place.before) or ODBC_SPECIAL.search(value) or place.within("{", "}")):
        return _no_null(value)
    return _quoted(_no_null(value).replace("}", "}}"), place, "{", "}")


def _ado(value: str, place: Place) -> str:
    plain = re.fullmatch(r"[^\"'=;{}\s\x00-\x1f\x7f-\x9f]+", value) and not place.within('"', '"')
    return value if plain else _quoted(_no_null(value).replace('"', '""'), place, '"', '"')


def _quoted(text: str, place: Place, opening: str, closing: str) -> str:
    """The text between its quotes, which the template may have put there already."""
    return text if place.within(opening, closing) else f"{opening}{text}{closing}"


def _no_null(value: str) -> str:
    if "\0" in value:
        raise Unfit("a value holds a null character, which no connection string can")
    return value


def _json(value: str, _: Place) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


ESCAPES: Final[Mapping[Escape, Callable[[str, Place], str]]] = {
    Escape.NONE: lambda value, _: value,
    Escape.URL: _url,
    Escape.LIBPQ: _libpq,
    Escape.ODBC: _odbc,
    Escape.ADO: _ado,
    Escape.JSON: _json,
}
"""Sources: RFC 3986, 2.1, and RFC 6874; PostgreSQL "Connection Strings", 32.1.1.1; ODBC "SQLDriverConnect", and what
psqlodbc 17.0 and MariaDB Connector/ODBC 3.1 take; ADO.NET "Connection String Syntax", and the pattern by which
DbConnectionStringBuilder decides what to quote; RFC 8259, 7."""


def _encoded(encoding: Encoding, text: Sensitive) -> Sensitive:
    if encoding is Encoding.TEXT:
        return _sound(text)
    return Sensitive(ENCODINGS[encoding](_sound(text).reveal()))


def _sound(text: Sensitive) -> Sensitive:
    """The text itself, which every store can hold. Raises Unfit."""
    try:
        text.reveal().encode()
    except UnicodeEncodeError:
        raise Unfit("it holds half a character (a lone surrogate), which is no UTF-8") from None
    return text


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except binascii.Error:
        raise Unfit("it is not base64") from None
    except UnicodeDecodeError:
        raise Unfit("what it encodes is not UTF-8 text, and stores hold texts") from None


def _pem(text: str) -> str:
    lines = "\n".join(line.strip() for line in text.replace("\\n", "\n").strip().splitlines()) + "\n"
    if not PEM.fullmatch(lines):
        raise Unfit("it is not PEM")
    return lines


ENCODINGS: Final[Mapping[Any, Callable[[str], str]]] = {
    Encoding.BASE64: lambda text: base64.b64encode(text.encode()).decode(),
    Encoding.FROM_BASE64: _from_base64,
    Encoding.PEM: _pem,
}
