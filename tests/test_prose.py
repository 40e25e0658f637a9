"""Docstrings use the field's words: a list of words that cost a second reading stays rare."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PLAIN: Final = (
    *("access_log", "agent", "client", "core", "doctor", "evidence", "grants", "inventory", "keys", "ledger"),
    *("organisations", "pages", "programs", "recovery", "revocation", "rotation", "serving", "sync", "wiring"),
)
"""The rooms that are rewritten; the others follow."""

WORDS: Final = re.compile(
    r"\b(whoever|nobody|somebody|told|tells?|stands?|stood|besides?|lies|lie|mend(?:s|ed)?|in step|turns?|for a while|"
    r"leads? to|anew|lets?|goes on)\b",
    re.I,
)
MOST: Final = 2
"""Of 1,000 words of docstrings."""


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


@pytest.mark.parametrize("room", PLAIN)
def test_a_rooms_docstrings_are_plain_english(room: str) -> None:
    texts = [text for file in (ROOT / "keyturn" / room).rglob("*.py") for text in docstrings(file)]
    words = sum(len(text.split()) for text in texts)
    found = [word for text in texts for word in WORDS.findall(text)]
    assert words > 100
    assert len(found) * 1000 <= MOST * words, found
