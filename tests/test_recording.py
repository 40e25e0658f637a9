"""The recording of a rotation: the committed picture, and the tool that writes it."""

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

import pytest

from tools.recording import COLUMNS, LONGEST, Line, svg
from tools.screenshot import IMAGES, RECORDED, ROTATE, main

ROOT: Final = Path(__file__).parents[1]
NAMESPACE: Final = "http://www.w3.org/2000/svg"
COMMITTED: Final = (ROOT / RECORDED).read_text()
COMMAND: Final = f"keyturn {' '.join(ROTATE)}"
LINES: Final = [
    Line(5.0, "  decide a/b: due"),
    Line(5.0, "  stage a/b: <candidate> & more"),
    Line(65.0, f"  conclude a/b: {'every copy is in sync, ' * 6}0.07 s"),
]
MADE: Final = svg(COMMAND, LINES, 'A "title" & more')


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314 - our own


def elements(picture: str, name: str) -> list[ET.Element]:
    return parsed(picture).findall(f".//{{{NAMESPACE}}}{name}")


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in elements(picture, "text")]


def steps(picture: str) -> list[str]:
    """The kinds of steps, in the order in which they appear."""
    indented = [each for each in elements(picture, "text") if each.get("x") == "36.8" and each.get("class") == "line"]
    named = [match[1] for each in indented if (match := re.match(r"(\w+) .+: ", each.text or ""))]
    return [step for step, _ in itertools.groupby(named)]


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_a_page_that_shows_the_recording_names_its_steps_and_its_command(page: str) -> None:
    text = (ROOT / page).read_text()
    found = re.search(rf"!\[keyturn rotate [^:\]]+: ([^\]]+)\]\([^)]*images/{RECORDED.name}\)", text)
    assert found
    assert [phrase.split()[0] for phrase in found[1].split(", ")] == steps(COMMITTED)
    assert COMMAND in text
    assert texts(COMMITTED)[:2] == ["$", COMMAND]


@pytest.mark.parametrize("picture", [COMMITTED, MADE], ids=["committed", "made"])
def test_the_picture_needs_nothing_from_outside_and_is_described(picture: str) -> None:
    root = parsed(picture)
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext(f"{{{NAMESPACE}}}title")
    assert {each.tag for each in root.iter()} == {
        f"{{{NAMESPACE}}}{name}" for name in ("svg", "title", "style", "rect", "circle", "text")
    }
    bare = picture.replace(f'xmlns="{NAMESPACE}"', "")
    assert not re.search(r"://|url\(|@import|@font-face|href|src", bare)
    assert len(picture.encode()) < 60_000


def test_the_recording_names_no_path_and_no_address_of_the_machine() -> None:
    for text in texts(COMMITTED):
        assert not re.search(r"(?<![\w:])[/~]/?\w|127\.0\.0\.1|localhost", text), text


@pytest.mark.parametrize("picture", [COMMITTED, MADE], ids=["committed", "made"])
def test_lines_appear_one_after_another_and_are_visible_where_nothing_moves(picture: str) -> None:
    style = elements(picture, "style")[0].text or ""
    still, _, moving = style.partition("@media (prefers-reduced-motion: no-preference)")
    assert not re.search(r"opacity|animation|visibility|display", still)
    assert "animation: appear" in moving
    delays = [float(match[1]) for match in re.finditer(r'style="animation-delay: ([\d.]+)s"', picture)]
    assert len(delays) == len(texts(picture)) - 2
    assert delays == sorted(delays)
    assert all(after - before <= LONGEST + 0.01 for before, after in itertools.pairwise(delays))


def test_a_long_line_is_folded_and_a_special_character_escaped() -> None:
    assert svg(COMMAND, LINES, 'A "title" & more') == MADE
    assert texts(MADE)[3] == "stage a/b: <candidate> & more"
    assert " ".join(texts(MADE)[4:]) == LINES[2].text.strip()
    assert len(texts(MADE)) == 6
    assert max(map(len, texts(MADE))) <= COLUMNS
    assert parsed(MADE).get("aria-label") == 'A "title" & more'
    assert steps(MADE) == ["decide", "stage", "conclude"]


def test_a_picture_that_there_is_not_is_refused_and_the_others_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rotation", "nope"]) == 1
    message = capsys.readouterr().err
    assert "nope: there is no such picture" in message
    assert all(file.stem in message for file in (ROOT / IMAGES).iterdir())
