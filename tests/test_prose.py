"""Docstrings use the field's words: a list of words that cost a second reading stays rare."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.prose import WORDS

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = sorted(
    str(path.relative_to(ROOT))
    for path in [*(ROOT / "keyturn").iterdir(), *(ROOT / name for name in ("flows", "tasks", "blocks", "deployments"))]
    if (path / "__init__.py").exists()
)

MOST: Final = 2
"""Of 1,000 words of docstrings."""
LONGEST: Final = 120
"""Words of docstrings in 100 lines, over all rooms."""


def docstrings(file: Path) -> Iterator[str]:
    """Those of the module, its classes, functions and constants."""
    for node in ast.walk(ast.parse(file.read_text())):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else []:
            if (
                isinstance(each, ast.Expr)
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
            ):
                yield each.value.value


def texts_in(room: str) -> list[str]:
    return [text for file in (ROOT / room).rglob("*.py") for text in docstrings(file)]


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_docstrings_are_plain_english(room: str) -> None:
    texts = texts_in(room)
    words = sum(len(text.split()) for text in texts)
    found = [word for text in texts for word in WORDS.findall(text)]
    assert words > 100
    assert len(found) * 1000 <= MOST * words, found


def test_docstrings_are_short() -> None:
    words = sum(len(text.split()) for room in ROOMS for text in texts_in(room))
    lines = sum(file.read_text().count("\n") for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    assert words * 100 <= LONGEST * lines
