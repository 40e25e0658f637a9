"""``{{name}}`` in texts that people write: find the names and replace them by values.

Replaced text is not parsed again, so a value may contain braces.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_.-]+)?"
"""A name, or two with a dot between them: ``id``, ``admin.token``."""

_PLACE: Final = re.compile(rf"\{{\{{ *({NAME}) *\}}\}}")


def names(text: str) -> tuple[str, ...]:
    """Return every name in ``text``, in order."""
    return tuple(match[1] for match in _PLACE.finditer(text))


def is_sound(text: str) -> bool:
    """Whether every pair of braces contains a name."""
    rest = _PLACE.sub("", text)
    return "{{" not in rest and "}}" not in rest


def fill(text: str, value: Callable[[str], str]) -> str:
    """Return ``text`` with each name replaced by its value."""
    return _PLACE.sub(lambda match: value(match[1]), text)


def fill_all(data: Any, value: Callable[[str], str]) -> Any:
    """Return a JSON structure with every text filled; keys, numbers and booleans stay."""
    if isinstance(data, str):
        return fill(data, value)
    if isinstance(data, dict):
        return {key: fill_all(inner, value) for key, inner in data.items()}
    return [fill_all(inner, value) for inner in data] if isinstance(data, list) else data


def replace_whole(data: Any, values: Mapping[str, Any]) -> Any:
    """Return a JSON structure in which a text that is only a name of ``values`` is that value, of its own type."""
    if isinstance(data, str):
        whole = _PLACE.fullmatch(data)
        return values[whole[1]] if whole and whole[1] in values else data
    if isinstance(data, dict):
        return {key: replace_whole(inner, values) for key, inner in data.items()}
    return [replace_whole(inner, values) for inner in data] if isinstance(data, list) else data


def texts(data: Any) -> Iterator[str]:
    """Yield every text in a JSON structure that :func:`fill_all` fills."""
    if isinstance(data, str):
        yield data
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for child in children:
        yield from texts(child)


def pattern(text: str, expression: Callable[[str], str]) -> re.Pattern[str]:
    """Return a pattern for ``text`` with each name replaced by its regular expression."""
    pieces = _PLACE.split(text)
    expressions = [expression(piece) if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)]
    return re.compile("".join(expressions))
