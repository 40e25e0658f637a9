"""The documents lead where they say: links, anchors, `make` targets and commands exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchor(heading: str) -> str:
    """A heading's anchor, as the forges make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    """Every place in a document that a link can name."""
    return {anchor(heading) for heading in re.findall(r"(?m)^#+ (.*)$", document.read_text())}


def dead_links(document: Path) -> Iterator[str]:
    """The links to files and places that are not there."""
    for link in LINK.findall(document.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        path, _, place = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (place and place not in anchors(target)):
            yield link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert list(dead_links(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"(?m)^(\w[\w-]*):", (ROOT / "Makefile").read_text()))
    assert set(re.findall(r"`(?:\w+=\d )?make (\w[\w-]*)", text)) <= targets
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"(?:`|\$ |&& |bin/)keyturn ([a-z]+)", text)) <= known


def test_the_picture_is_small_enough_to_load_with_the_page() -> None:
    picture = ROOT / "docs" / "images" / "rotate-secret.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000


def test_decisions_say_their_context_and_their_cost() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(path.name[:3]) for path in decisions]
    assert numbers == sorted(set(numbers)), "a number is given once"
    for path in decisions:
        headings = re.findall(r"(?m)^## (.*)$", path.read_text())
        assert headings == ["Context", "Decision", "What it costs"], path.name
