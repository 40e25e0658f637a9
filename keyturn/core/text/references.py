"""Names in a mapping: a field, a property of a JSON field, or either in the previous version.

``host`` is a field, ``config.db.host`` the property ``host`` of ``db`` in the JSON field ``config``, ``config.hosts.0``
a list's first item. A field or key whose own name has dots takes precedence. ``previous.key`` is the previous version's
``key``, while copies include it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.precise_json import number

PREVIOUS: Final = "previous."
"""Prefix of names from the previous version."""


class Unfit(ValueError):
    """A copy can't be made of these fields; the text gives the reason, no value."""


class Absent(Enum):
    """Placeholder for a missing value of the previous version."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class Respelled:
    """A JSON number that would be spelled differently when written again."""


def names_previous(name: str) -> bool:
    """Whether a name refers to the previous version."""
    return name.startswith(PREVIOUS)


@dataclass(frozen=True)
class Values:
    """The source of a copy: CURRENT's fields, and those of the previous version if included."""

    fields: SecretFields
    previous: SecretFields | None = None

    def find(self, name: str) -> Any:
        """The JSON value of a name; ABSENT if the previous version lacks it. Raises Unfit.

        A field missing in CURRENT is a catalogue error, also for the previous version.
        """
        if not names_previous(name) or name in self.fields:
            return value_of(self.fields, name)
        own = name.removeprefix(PREVIOUS)
        value_of(self.fields, own)
        if self.previous is None:
            return ABSENT
        try:
            return value_of(self.previous, own)
        except Unfit:
            return ABSENT  # the field came with CURRENT

    def text(self, name: str) -> Sensitive:
        """The value as text; empty if absent. Raises Unfit."""
        value = self.find(name)
        return Sensitive("") if value is ABSENT else SecretFields({name: value})[name]

    def several(self, names: Sequence[str]) -> list[str]:
        """The names with a value, without repeated previous values."""
        present: list[tuple[str, Any]] = []
        for name in names:
            value = self.find(name)
            again = names_previous(name) and value in [other for _, other in present]
            if value is not ABSENT and not again:
                present.append((name, value))
        return [name for name, _ in present]

    def lacking(self, names: Iterable[str]) -> str:
        """Return what these names lack, as text; empty if nothing."""
        problems = []
        for name in sorted(set(names)):
            try:
                self.find(name)
            except Unfit as error:
                problems.append(str(error))
        return "; ".join(problems)


def value_of(fields: SecretFields, name: str) -> Any:
    """The JSON value of a field or of a property in it. Raises Unfit."""
    plain, parts = fields.reveal(), name.split(".")
    for count in range(len(parts), 0, -1):
        if (field := ".".join(parts[:count])) in plain:
            return inside(field, plain[field], parts[count:])
    raise Unfit(f"the secret has no field {name}")


def inside(field: str, value: Any, parts: Sequence[str]) -> Any:
    """The property at ``parts`` in a field's value. Raises Unfit."""
    where = ".".join(parts)
    while parts:
        value = opened(field, value)
        if count := key_length(value, parts):
            value, parts = value[".".join(parts[:count])], parts[count:]
        elif isinstance(value, list) and parts[0].isdecimal() and int(parts[0]) < len(value):
            value, parts = value[int(parts[0])], parts[1:]
        else:
            raise Unfit(f"the field {field} has no property {where}")
    if where and respelled(value):
        raise Unfit(f"the property {where} of the field {field} holds a number that would be spelled otherwise")
    return value


def key_length(value: Any, parts: Sequence[str]) -> int:
    """The number of leading parts that form one key of an object, as many as possible; 0 if none."""
    keys = value if isinstance(value, dict) else {}
    return next((count for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in keys), 0)


def opened(field: str, value: Any) -> Any:
    """A parsed JSON text; other values unchanged. Raises Unfit."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_int=_number, parse_float=_number, parse_constant=lambda _: Respelled())
    except (ValueError, RecursionError):
        raise Unfit(f"the field {field} is no JSON, so nothing inside of it can be named") from None


def respelled(value: Any) -> bool:
    """Whether a value contains a number that would be written differently."""
    if isinstance(value, dict):
        return any(map(respelled, value.values()))
    return any(map(respelled, value)) if isinstance(value, list) else isinstance(value, Respelled)


def _number(spelled: str) -> Any:
    try:
        return number(spelled)
    except ValueError:
        return Respelled()
