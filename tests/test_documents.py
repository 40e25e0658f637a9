"""The documents lead where they say: links, anchors, `make` targets and commands exist."""

import itertools
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from keyturn.cli import former_names
from keyturn.cli.app import app
from keyturn.revocation.incidents.incident import RETRIED
from tests.support.security_annex import PAGE, annex

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(page for folder in ("docs", "examples", "benchmarks") for page in (ROOT / folder).rglob("*.md")),
    ]
)
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
    if document.name == "CHANGELOG.md":
        known |= {former.split()[0] for former in former_names.COMMANDS}
    assert set(re.findall(r"(?:`|\$ |&& |bin/)keyturn ([a-z]+)", text)) <= known


TYPED = re.compile(r"(?m)^ *[a-z]*\$ ((?:\w+=\S+ )*)keyturn ((?:.*\\\n)*.*)$")
"""A command of Keyturn as a console block has it, with variables before it and lines that go on."""
AFTER = re.compile(r"\s(?:\||>|<|&&|\|\||;|2>|&)(?:\s|$).*", re.S)
"""What a shell does with what the command says."""


@cache
def program() -> Any:
    """The whole command line, made once for hundreds of lines."""
    return typer.main.get_command(app)


def unknown_in(words: list[str]) -> list[str]:
    """The options of a command that its parser does not know, or the command itself where there is none such."""
    command = program()
    while hasattr(command, "commands"):
        options = options_of(command)
        while words and words[0] in options:
            words = words[2 - options[words[0]] :]
        if not words or words[0] not in command.commands:
            return [] if words == ["--help"] else words[:1]
        command, words = command.commands[words[0]], words[1:]
    own = itertools.takewhile(lambda word: word != "--", words)
    return [
        word for word in own if re.match(r"--?[A-Za-z]", word) and word.partition("=")[0] not in options_of(command)
    ]


def options_of(command: Any) -> dict[str, bool]:
    """The options of a command, and whether each stands alone."""
    names = {"--help": True, "-h": True}
    for parameter in command.params:
        alone = getattr(parameter, "is_flag", False)
        names |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], alone)
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_to_be_typed_has_the_options_that_it_names(document: Path) -> None:
    for _, command in TYPED.findall(document.read_text()):
        words = shlex.split(AFTER.sub("", command.replace("\\\n", " ")), comments=True)
        assert unknown_in(words) == [], command


def test_a_command_that_is_not_there_would_be_noticed() -> None:
    assert unknown_in(["ledger", "verify", "--against-hub"]) == unknown_in(["-q", "--context", "prod", "status"]) == []
    assert unknown_in(["rotate", "x", "--nope"]) == ["--nope"]
    assert unknown_in(["ledger", "nope"]) == ["nope"]
    assert sum(len(TYPED.findall(document.read_text())) for document in DOCUMENTS) > 150


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_table_has_a_head_and_rows_as_wide_as_it(document: Path) -> None:
    """A row that an empty line, or a slip of a merge, parts from its head is shown as a line of text."""
    prose = re.sub(r"(?ms)^ *```.*?^ *```", "", document.read_text())
    for table in re.findall(r"(?m)(?:^ *\|.*\n?)+", prose):
        head, line, *rows = (row.strip() for row in f"{table}\n".splitlines())
        assert re.fullmatch(r"\|(?:[ :-]+\|)+", line), f"no head: {head}"
        assert [row for row in rows if row and cells(row) != cells(head)] == []


def cells(row: str) -> int:
    """How many cells a row of a table has; a bar behind a backslash is text."""
    return len(re.findall(r"(?<!\\)\|", row)) - 1


@pytest.mark.parametrize("name", ["rotate-secret.png", "compliance-report.png"])
def test_the_pictures_are_small_enough_to_load_with_their_pages(name: str) -> None:
    picture = ROOT / "docs" / "images" / name
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000


def test_decisions_say_their_context_and_their_cost() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:3]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        headings = re.findall(r"(?m)^## (.*)$", path.read_text())
        assert headings == ["Context", "Decision", "What it costs"], path.name


def test_the_page_of_attacks_lists_the_tests_that_there_are() -> None:
    assert PAGE.read_text() == annex(), "run python -m tests.support.security_annex"


RETRIES = re.compile(
    r"(?:retr(?:ied|ies)|tried again|`finish-incidents` (?:runs|retries))[^.|\n]{0,80}? every (\w+) (\w+)"
)


def test_every_page_says_the_same_of_how_often_an_incident_is_retried() -> None:
    pages = ("emergency-card", "revocation", "operations", "protocol", "organisations")
    said = {page: RETRIES.findall((ROOT / "docs" / f"{page}.md").read_text()) for page in pages}
    assert all(said[page] for page in ("emergency-card", "revocation", "operations", "protocol"))
    assert {f"every {' '.join(words)}" for some in said.values() for words in some} == {RETRIED}
