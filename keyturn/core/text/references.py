"""What the names in a mapping mean: a field, a property of a field that is JSON, or either in the version before.

``host`` is a field. ``config.db.host`` is the property ``host`` of ``db`` in the JSON that the field ``config`` holds,
``config.hosts.0`` the first of a list; a field or a key whose own name holds dots comes first. ``previous.key`` is the
field ``key`` of the version before, as long as copies give that beside CURRENT.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.precise_json import number

PREVIOUS: Final = "previous."
"""What the name of a value of the version before begins with."""


class Unfit(ValueError):
    """A copy can't be made of these fields; the text says why, without a value."""


class Absent(Enum):
    """What stands for a value of the version before, where none is given."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class Respelled:
    """A number within JSON that would be spelled otherwise when it is written again."""


def names_previous(name: str) -> bool:
    """Whether a name is of the version before."""
    return name.startswith(PREVIOUS)


@dataclass(frozen=True)
class Values:
    """What a copy is made of: CURRENT's fields, and those of the version before, where they stand beside it."""

    fields: SecretFields
    previous: SecretFields | None = None

    def find(self, name: str) -> Any:
        """The JSON value that a name means; ABSENT for one of a version before that is not given. Raises Unfit.

        What CURRENT lacks is a slip of the catalogue, of the version before as well.
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
        """The same as a text; empty for what is absent. Raises Unfit."""
        value = self.find(name)
        return Sensitive("") if value is ABSENT else SecretFields({name: value})[name]

    def several(self, names: Sequence[str]) -> list[str]:
        """Those of the names that there is a value for; one of the version before only where it is another."""
        present: list[tuple[str, Any]] = []
        for name in names:
            value = self.find(name)
            again = names_previous(name) and value in [other for _, other in present]
            if value is not ABSENT and not again:
                present.append((name, value))
        return [name for name, _ in present]

    def lacking(self, names: Iterable[str]) -> str:
        """What is missing for these names, in words; empty where nothing is."""
        problems = []
        for name in sorted(set(names)):
            try:
                self.find(name)
            except Unfit as error:
                problems.append(str(error))
        return "; ".join(problems)


def value_of(fields: SecretFields, name: str) -> Any:
    """The JSON value of a field, or of a property inside of one. Raises Unfit."""
    plain, parts = fields.reveal(), name.split(".")
    for count in range(len(parts), 0, -1):
        if (field := ".".join(parts[:count])) in plain:
            return inside(field, plain[field], parts[count:])
    raise Unfit(f"the secret has no field {name}")


def inside(field: str, value: Any, parts: Sequence[str]) -> Any:
    """The property that ``parts`` lead to in a field's value. Raises Unfit."""
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
    """How many of the parts, the most first, are one key of an object; 0 where none are."""
    keys = value if isinstance(value, dict) else {}
    return next((count for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in keys), 0)


def opened(field: str, value: Any) -> Any:
    """What a text that is JSON says; any other value as it is. Raises Unfit."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_int=_number, parse_float=_number, parse_constant=lambda _: Respelled())
    except (ValueError, RecursionError):
        raise Unfit(f"the field {field} is no JSON, so nothing inside of it can be named") from None


def respelled(value: Any) -> bool:
    """Whether a value holds a number that would be written in another way than it was read."""
    if isinstance(value, dict):
        return any(map(respelled, value.values()))
    return any(map(respelled, value)) if isinstance(value, list) else isinstance(value, Respelled)


def _number(spelled: str) -> Any:
    try:
        return number(spelled)
    except ValueError:
        return Respelled()
