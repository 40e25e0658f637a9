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


def fill_all(data: Any, value: Callable[[str], str], fill: Callable[..., str] = fill) -> Any:
    """Return a JSON structure with every text filled by ``fill``; keys, numbers and booleans stay."""
    return _each_text(data, lambda text: fill(text, value))


def replace_whole(data: Any, values: Mapping[str, Any]) -> Any:
    """Return a JSON structure in which a text that is only a name of ``values`` is that value, of its own type."""

    def replaced(text: str) -> Any:
        whole = _PLACE.fullmatch(text)
        return values[whole[1]] if whole and whole[1] in values else text

    return _each_text(data, replaced)


def _each_text(data: Any, change: Callable[[str], Any]) -> Any:
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {key: _each_text(inner, change) for key, inner in data.items()}
    return [_each_text(inner, change) for inner in data] if isinstance(data, list) else data


def texts(data: Any) -> Iterator[str]:
    """Yield every text in a JSON structure that :func:`fill_all` fills."""
    if isinstance(data, str):
        yield data
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for child in children:
        yield from texts(child)


def pattern(text: str, expression: Callable[[str], str]) -> re.Pattern[str]:
    """Return a pattern for ``text`` with each name replaced by its regular expression."""
    parts = enumerate(pieces(text))
    return re.compile("".join(expression(part) if index % 2 else re.escape(part) for index, part in parts))


def pieces(text: str) -> list[str]:
    """Return what is between the names, and the names, alternately."""
    return _PLACE.split(text)


def is_part(part: str, text: str) -> bool:
    """Whether ``part`` is the whole text, or has a name and is a phrase of it, not a piece of a word."""
    if part == text:
        return True
    return bool(names(part) and re.search(rf"(?<![\w}}]){re.escape(part)}(?![\w{{]|\}}\}})", text))
