"""``{{name}}`` in texts that people write: which names stand there, and putting their values in.

What is put in is never read again, so a value may hold braces itself.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_.-]+)?"
"""A name, or two with a dot between them: ``id``, ``admin.token``."""

_PLACE: Final = re.compile(rf"\{{\{{ *({NAME}) *\}}\}}")


def names(text: str) -> tuple[str, ...]:
    """Every name that ``text`` asks for, in their order."""
    return tuple(match[1] for match in _PLACE.finditer(text))


def is_sound(text: str) -> bool:
    """Whether every pair of braces holds a name."""
    rest = _PLACE.sub("", text)
    return "{{" not in rest and "}}" not in rest


def fill(text: str, value: Callable[[str], str]) -> str:
    """``text`` with the value of each name in its place."""
    return _PLACE.sub(lambda match: value(match[1]), text)


def fill_all(data: Any, value: Callable[[str], str]) -> Any:
    """A JSON structure with every text in it filled; keys, numbers and truth values stay."""
    if isinstance(data, str):
        return fill(data, value)
    if isinstance(data, dict):
        return {key: fill_all(inner, value) for key, inner in data.items()}
    return [fill_all(inner, value) for inner in data] if isinstance(data, list) else data


def texts(data: Any) -> Iterator[str]:
    """Every text in a JSON structure that :func:`fill_all` fills."""
    if isinstance(data, str):
        yield data
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for child in children:
        yield from texts(child)


def pattern(text: str, expression: Callable[[str], str]) -> re.Pattern[str]:
    """What matches ``text`` with anything that fits each name's regular expression in its place."""
    pieces = _PLACE.split(text)
    expressions = [expression(piece) if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)]
    return re.compile("".join(expressions))
