"""Render a secret's fields as a copy's text: the whole secret, some fields, one field, or templates.

A template has ``{field}`` for a value; ``{{`` and ``}}`` are braces. See :mod:`keyturn.core.text.references`.
"""

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from string import Formatter
from typing import Any, Final
from urllib.parse import quote

from keyturn.core.fingerprint import payload
from keyturn.core.ports.stores import GROWN
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.formatting import Case, respelled
from keyturn.core.text.references import ABSENT, Unfit, Values, names_previous


class Escape(StrEnum):
    """How to escape a value inside a template."""

    NONE = "none"
    URL = "url"
    """Percent-encoded (RFC 3986); an IPv6 address as a URL's host gets brackets."""
    LIBPQ = "libpq"
    """PostgreSQL keyword/value strings: single-quoted."""
    ODBC = "odbc"
    """ODBC: passwords always in braces, other values only if ODBC requires it.

    PostgreSQL's driver decodes ``%41`` and ``+`` only in a password without braces.
    """
    ADO = "ado"
    """ADO.NET: double-quoted where necessary."""
    JSON = "json"
    """The inside of a JSON string."""


class Encoding(StrEnum):
    """Encoding of the finished text."""

    TEXT = "text"
    BASE64 = "base64"
    """Encode the text in base64."""
    FROM_BASE64 = "from-base64"
    """Decode the base64 text."""
    PEM = "pem"
    """The text is PEM: normalise line ends, including the last."""


URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
ODBC_PASSWORD: Final = re.compile(r"(?i)(^|;)\s*(pwd|password)\s*=\s*\{?\Z")
ODBC_SPECIAL: Final = re.compile(r"[\[\]{}(),;?*=!]")
"""Characters that need braces in ODBC, except @: Azure and PostgreSQL's driver accept it unquoted in a user name."""
PEM: Final = re.compile(r"(-----BEGIN ([A-Z0-9 ]+)-----\n([A-Za-z0-9+/=:, -]*\n)+-----END \2-----\n)+")


ValueNames = str | tuple[str, ...]
"""One name, or several whose values are combined."""


@dataclass(frozen=True)
class Shape:
    """How one copy is derived from its secret.

    ``fields`` pairs a name in the copy with one or more fields, ``templates`` with a template and its escape. Several
    values become a JSON list, or a text separated by ``join``. ``case`` respells the names of a whole secret.
    """

    fields: tuple[tuple[str, ValueNames], ...] = ()
    field: ValueNames = ""
    template: str = ""
    escape: Escape | None = None
    encoding: Encoding = Encoding.TEXT
    templates: tuple[tuple[str, str, Escape | None], ...] = ()
    join: str | None = None
    case: Case | None = None

    @cached_property
    def mark(self) -> str:
        """Eight hex digits that identify this shape; empty for the unchanged whole secret."""
        if self == WHOLE:
            return ""
        parts: list[Any] = [self.fields, self.field, self.template, self.escape, self.encoding]
        more = [self.templates, self.join, self.case]
        return hashlib.sha256(json.dumps(parts + more if any(more) else parts).encode()).hexdigest()[:8]

    def marked(self, previous: int) -> str:
        """The mark of a copy that also contains version ``previous``, 0 if none."""
        return f"{self.mark}-{previous}" if previous and self.tells_previous else self.mark

    def added_from(self, version: int, created_at: datetime | None) -> str:
        """The mark of a copy that keeps old fields and has all of this version's: `OwnershipTags.grown`."""
        digest = hashlib.sha256(f"{version} {created_at}".encode()).hexdigest()[:8]
        return f"{self.mark}-{GROWN}{digest}"

    @property
    def references(self) -> tuple[str, ...]:
        """Every name in it, including those of the previous version."""
        if self.template:
            return tuple(places(self.template))
        listed = [self.field, *(entry for _, entry in self.fields)]
        named = [name for entry in listed for name in ((entry,) if isinstance(entry, str) else entry) if name]
        return (*named, *(name for _, template, _ in self.templates for name in places(template)))

    @cached_property
    def tells_previous(self) -> bool:
        """Whether it contains any part of the previous version."""
        return any(map(names_previous, self.references))

    def render(self, fields: SecretFields, previous: SecretFields | None = None) -> Sensitive:
        """The copy's text. Raises Unfit for a missing field or invalid text."""
        values = Values(fields, previous)
        if missing := values.lacking(self.references):
            raise Unfit(missing)
        return _encoded(self.encoding, self._text(values))

    def strings(self, name: str) -> "Iterator[Shape]":
        """Each template with CURRENT's field ``name``, as a separate unencoded shape."""
        alone = [("", self.template, self.escape)] if self.template else []
        for _, template, escape in (*alone, *self.templates):
            if name in places(template):
                yield Shape(template=template, escape=escape, join=self.join)

    def invert(self, text: Sensitive) -> Mapping[str, Any]:
        """The secret's fields from a copy's text. Raises Unfit if unrecoverable."""
        if reason := self._one_way():
            raise Unfit(reason)
        try:
            plain = text.reveal() if self.encoding is Encoding.TEXT else _from_base64(text.reveal())
            held = json.loads(plain)
            return dict(self._own(held)) if self.fields else dict(held)
        except (ValueError, KeyError, TypeError, IndexError):
            raise Unfit("it is not what Keyturn writes for a whole secret") from None

    def part(self, text: Sensitive) -> Mapping[str, Any]:
        """The field in a single-field copy, the newest in a list. Raises Unfit if unrecoverable."""
        if self.encoding not in (Encoding.TEXT, Encoding.BASE64):
            raise Unfit(f"its encoding, {self.encoding}, can't be undone")
        names = self.field
        try:
            plain = text.reveal() if self.encoding is Encoding.TEXT else _from_base64(text.reveal())
            if isinstance(names, str):
                return {names: plain} if names else {}
            if self.join is None and not names_previous(names[0]):
                return {names[0]: json.loads(plain)[0]}
        except (ValueError, TypeError, IndexError, KeyError):
            raise Unfit("it is not what Keyturn writes for one field") from None
        raise Unfit("several values are in one text, and it is unknown where one ends")

    def _one_way(self) -> str:
        """Return why fields can't be recovered from a copy; empty if they can."""
        if self.template or (self.templates and not self.fields):
            return "it is made by a template"
        if self.field:
            return "it holds one field alone"
        if self.case and not self.fields:
            return "the names of the fields are spelled otherwise there"
        lasting = self.encoding in (Encoding.TEXT, Encoding.BASE64)
        return "" if lasting else f"its encoding, {self.encoding}, can't be undone"

    def _own(self, held: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """CURRENT's fields in a copy, except several values joined in one text, which can't be split."""
        for new, names in self.fields:
            if isinstance(names, str):
                yield from [] if names_previous(names) else [(names, held[new])]
            elif self.join is None and not names_previous(names[0]):
                yield names[0], held[new][0]

    def _text(self, values: Values) -> Sensitive:
        if self.template:
            return self._filled(self.template, self.escape, values)
        if self.field:
            value = self._value(self.field, values)
            return SecretFields({"": value})[""] if isinstance(self.field, str) else _list_text(value)
        if not (self.fields or self.templates):
            return payload(SecretFields(respelled(values.fields.reveal(), self.case)) if self.case else values.fields)
        listed = {new: self._value(names, values) for new, names in self.fields}
        made = {new: value for new, value in listed.items() if value is not ABSENT}
        texts = {new: self._filled(template, escape, values) for new, template, escape in self.templates}
        return payload(SecretFields({**made, **texts}))

    def _value(self, wanted: ValueNames, values: Values) -> Any:
        """The JSON value of one or several names; ABSENT if missing."""
        if isinstance(wanted, str):
            return values.find(wanted)
        names = values.several(wanted)
        if self.join is None:
            return [values.find(name) for name in names]
        return joined([values.text(name).reveal() for name in names], self.join)

    def _filled(self, template: str, escape: Escape | None, values: Values) -> Sensitive:
        return Sensitive(_filled(template, values, escape or default_escape(template), self.join or ","))


WHOLE: Final = Shape()
"""All fields as one JSON object."""


def with_missing(held: Sensitive, newer: Sensitive) -> tuple[Sensitive, tuple[str, ...]]:
    """A copy's text plus the fields that only ``newer`` has, and their names; existing fields stay.

    Raises Unfit if either is not a JSON object.
    """
    there, wanted = _object(held), _object(newer)
    lacking = tuple(sorted(wanted.keys() - there.keys()))
    return (payload(SecretFields({**wanted, **there})) if lacking else held), lacking


def _object(text: Sensitive) -> dict[str, Any]:
    try:
        members = json.loads(text.reveal())
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise Unfit("it is no JSON object, so no field can be added to it")
    return members


def default_escape(template: str) -> Escape:
    """The URL escape for a template that begins like a URL, else none."""
    return Escape.URL if URL.match(template) else Escape.NONE


def template_flaw(template: str) -> str | None:
    """Return what is wrong with a template; None if it is valid."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        return "its braces don't fit together"
    if any(spec or conversion for _, _, spec, conversion in parts):
        return "a place holds a field's name and nothing else"
    if all(name is None for _, name, _, _ in parts):
        return NO_FIELD
    names = places(template)
    if not all(re.fullmatch(r"[\w.-]+", name) for name in names):
        return "a place holds no legal field name"
    return ONLY_PREVIOUS if all(map(names_previous, names)) else None


NO_FIELD: Final = "it holds no field"
ONLY_PREVIOUS: Final = "it holds nothing but the version before, and would be empty once that is gone"


def places(template: str) -> list[str]:
    """The names in a template, in order; a placeholder may hold several, separated by commas."""
    return [name for _, place, _, _ in Formatter().parse(template) if place is not None for name in listed(place)]


def listed(place: str) -> list[str]:
    """The names in one placeholder."""
    return [name.strip() for name in place.split(",")]


def joined(texts: Sequence[str], between: str) -> str:
    """Join the texts with ``between``. Raises Unfit if one of several contains it."""
    if len(texts) > 1 and any(between in text for text in texts):
        raise Unfit("one of several values contains the separator")
    return between.join(texts)


@dataclass(frozen=True)
class Place:
    """A placeholder's context: the text ``before`` it and the template ``after`` it, with ``*`` for each field."""

    before: str
    after: str

    def within(self, opening: str, closing: str) -> bool:
        """Whether the template already encloses the placeholder in these."""
        return self.before.endswith(opening) and self.after.startswith(closing)

    @property
    def is_host(self) -> bool:
        """Whether it is the host of a URL, or one of several hosts."""
        authority = re.fullmatch(r"[^/?#]*://([^/?#]*[@,])?", self.before)
        return authority is not None and "@" not in re.split(r"[/?#]", self.after, maxsplit=1)[0]


QUOTED: Final = (Escape.LIBPQ, Escape.ODBC, Escape.ADO)
"""Escapes that quote several values together."""


def _filled(template: str, values: Values, escape: Escape, between: str) -> str:
    parts, put = list(Formatter().parse(template)), ESCAPES[escape]
    made = ""
    for index, (literal, names, _, _) in enumerate(parts):
        made += literal
        if names is not None:
            after = "".join(text + ("" if other is None else "*") for text, other, _, _ in parts[index + 1 :])
            place, texts = Place(made, after), [values.text(name).reveal() for name in values.several(listed(names))]
            made += (
                put(joined(texts, between), place)
                if escape in QUOTED
                else joined([put(value, place) for value in texts], between)
            )
    return made


def _list_text(value: Any) -> Sensitive:
    """Several values as the copy's text: a JSON list, or the joined text."""
    return Sensitive(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")))


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
    """Quote the text unless the template already does."""
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
"""Sources: RFC 3986, 2.1, and RFC 6874; PostgreSQL "Connection Strings", 32.1.1.1; ODBC "SQLDriverConnect", tested with
psqlodbc 17.0 and MariaDB Connector/ODBC 3.1; ADO.NET "Connection String Syntax" and the quoting pattern of
DbConnectionStringBuilder; RFC 8259, 7.
"""


def _encoded(encoding: Encoding, text: Sensitive) -> Sensitive:
    if encoding is Encoding.TEXT:
        return _sound(text)
    return Sensitive(ENCODINGS[encoding](_sound(text).reveal()))


def _sound(text: Sensitive) -> Sensitive:
    """The text, if valid UTF-8. Raises Unfit."""
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
