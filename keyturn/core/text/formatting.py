"""Spelling of field names in a copy, such as ``DATABASE_URL`` for an environment."""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from keyturn.core.text.references import Unfit


class Case(StrEnum):
    """A spelling for names of several words."""

    UPPER_SNAKE = "upper-snake"
    SNAKE = "snake"
    KEBAB = "kebab"
    CAMEL = "camel"
    PASCAL = "pascal"
    UPPER = "upper"
    """The name in upper case."""
    LOWER = "lower"
    """The name in lower case."""


def words_of(name: str) -> list[str]:
    """A name's words in lower case: ``dbURLPath``, ``db-url.path`` and ``DB_URL_PATH`` have the same three."""
    apart = re.sub(r"([^\W_A-Z])([A-Z])", r"\1 \2", name)
    apart = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", apart)
    return [word.lower() for word in re.split(r"[\W_]+", apart) if word]


def _camel(words: Sequence[str]) -> str:
    return words[0] + "".join(map(str.capitalize, words[1:]))


JOINED: Final[Mapping[Case, Callable[[Sequence[str]], str]]] = {
    Case.UPPER_SNAKE: lambda words: "_".join(words).upper(),
    Case.SNAKE: "_".join,
    Case.KEBAB: "-".join,
    Case.CAMEL: _camel,
    Case.PASCAL: lambda words: "".join(map(str.capitalize, words)),
}


def spelled(name: str, case: Case | None) -> str:
    """The name in this spelling. Raises Unfit for one without a letter or digit."""
    if case is None:
        return name
    if case in (Case.UPPER, Case.LOWER):
        return name.upper() if case is Case.UPPER else name.lower()
    words = words_of(name)
    if not words:
        raise Unfit(f"the field {name} has no letter to spell it with")
    return JOINED[case](words)


def respelled(fields: Mapping[str, Any], case: Case | None) -> dict[str, Any]:
    """The fields with names in this spelling. Raises Unfit if two would have the same."""
    made: dict[str, str] = {}
    for name in fields:
        new = spelled(name, case)
        if new in made:
            raise Unfit(f"the fields {made[new]} and {name} would both be called {new}")
        made[new] = name
    return {new: fields[name] for new, name in made.items()}
