"""Docstrings, messages and pages are plain English: words that cost a second reading stay rare, sentences short."""

import ast
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tools.manual import REFERENCE, counted
from tools.prose import WORDS, measures

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = sorted(
    str(path.relative_to(ROOT))
    for path in [*(ROOT / "keyturn").iterdir(), *(ROOT / name for name in ("flows", "tasks", "blocks", "deployments"))]
    if (path / "__init__.py").exists()
)

MOST: Final = 2
"""Of 1,000 words."""
LONGEST: Final = 120
"""Words of docstrings in 100 lines, over all rooms."""


@cache
def nodes_of(file: Path) -> Sequence[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


@cache
def docstrings(file: Path) -> Sequence[str]:
    """Those of the module, its classes, functions and constants."""
    return list(_docstrings(file))


def _docstrings(file: Path) -> Iterator[str]:
    for node in nodes_of(file):
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


# --- messages


def messages(file: Path) -> Iterator[str]:
    """The texts of three words or more that are no docstrings; an f-string is one text."""
    nodes = nodes_of(file)
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    known = set(docstrings(file))
    for node in nodes:
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        if len(text.split()) >= 3 and text not in known:
            yield text


def test_messages_are_plain_english() -> None:
    texts = [text for room in [*ROOMS, "local"] for file in (ROOT / room).rglob("*.py") for text in messages(file)]
    found = [text for text in texts if WORDS.search(text)]
    assert len(found) * 1000 <= sum(len(text.split()) for text in texts), found


# --- pages

NOT_MEASURED: Final = {"security-tests.md", "licences.md"}
"""Lists of tests' names and of packages."""
PAGES: Final = sorted(
    page
    for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "strategies").glob("*.md"), ROOT / "README.md"]
    if page.name not in NOT_MEASURED
)
TABLES: Final = {"docs/compliance.md", "docs/incident-report.md", "docs/scale.md"}
"""Pages of guides that are tables of messages, settings and figures for the most part."""
LONGEST_SENTENCE: Final = 30
"""Words that 95 of 100 sentences of a page do not exceed."""
ADDRESSED: Final = 6
"""How often a guide says *you* in 1,000 words, at least."""
MOST_WORDS: Final = 110_000
"""Of all pages outside of reference and decisions."""
MOST_IN_README: Final = 700


def guides() -> list[str]:
    """The pages that the manual has under *Get started* and *How-to*; those of strategies are reference."""
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    named = {title: pages for group in nav for title, pages in group.items()}
    listed = [page for title, pages in named.items() if title.startswith(("Get started", "How-to")) for page in pages]
    return [
        page
        for page in listed
        if page.startswith("docs/") and "/strategies/" not in page and page not in (*TABLES, *REFERENCE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_plain_english(page: Path) -> None:
    measured = measures(page.read_text())
    assert len(measured.found) * 1000 <= MOST * max(measured.words, 500), measured.found
    assert measured.longest <= LONGEST_SENTENCE


@pytest.mark.parametrize("page", guides())
def test_a_guide_addresses_its_reader(page: str) -> None:
    measured = measures((ROOT / page).read_text())
    assert measured.addressed * 1000 >= ADDRESSED * measured.words


def test_the_first_page_is_short_and_so_is_the_manual() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MOST_IN_README
    assert {page.stem for page in PAGES} >= {"cli", "sync", "alternating-users"}
    assert counted(ROOT)["guides and concepts"] <= MOST_WORDS
    assert all((ROOT / page).exists() for page in REFERENCE)
