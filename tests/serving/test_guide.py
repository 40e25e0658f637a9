"""The guide of `keyturn serve` word by word: its commands are taken, and what it says is answered is answered."""

import shlex
from pathlib import Path

import pytest
import typer

from keyturn.cli.app import app
from keyturn.cli.running.serve import LISTEN
from keyturn.serving.numbers.process import COUNTED, PREFIX, serving_metrics
from tests.serving.test_endpoint import WORKING, endpoint, get

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "operations.md").read_text().partition("\n## Background services\n")[2].partition("\n## ")[0]
COMMANDS = [shlex.split(line[2:]) for line in GUIDE.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("words", [words[1:] for words in COMMANDS if words[0] == "keyturn"], ids=" ".join)
def test_each_command_of_the_guide_is_one(words: list[str]) -> None:
    command = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("keyturn", list(words))


def test_what_the_guide_asks_is_answered() -> None:
    asked = [words[-1] for words in COMMANDS if words[0] == "curl"]
    assert [url.partition(LISTEN)[2] for url in asked] == ["/readyz", "/metrics"]
    with endpoint(WORKING) as url:
        for place in asked:
            assert get(place.replace(f"http://{LISTEN}", url)).status_code == 200


def test_every_number_is_in_the_reference() -> None:
    reference = (DOCS / "metrics.md").read_text()
    names = {f"{PREFIX}{metric.name}" for metric in serving_metrics()}
    counted = {f"{PREFIX}{name}" for name in COUNTED}
    assert {name for name in names if (f"{name}_total" if name in counted else name) not in reference} == set()
