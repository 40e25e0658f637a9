"""Help shows every command once, in its group, and its examples are commands that there are."""

import shlex

import pytest
from typer.main import get_command

from keyturn.cli.app import app
from keyturn.cli.emergencies.whois import insist_on_fingerprint
from keyturn.cli.former_names import STILL_RUN
from keyturn.cli.setup.guide import EXAMPLES, FIRST_WEEK, GROUPS, SUMMARIES
from tests.cli.command import run_keyturn

COMMANDS = {
    name: command
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    if name not in STILL_RUN
}


def test_every_command_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


def test_every_command_has_examples() -> None:
    groups = {"access", "catalogue", "context", "keys", "ledger", "monitor", "pki", "policy", "report", "setup"}
    groups |= {"backup", "failover", "recipe", "repair", "share", "store", "trail"}
    assert set(EXAMPLES) == set(COMMANDS) - groups


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines if line.startswith("keyturn")])
def test_an_example_is_a_command_that_there_is(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    assert line in EXAMPLES[name]
    assert COMMANDS[name].make_context(name, arguments).args == []


def test_the_example_of_a_fingerprint_is_one() -> None:
    given = [shlex.split(line)[2] for line in EXAMPLES["whois"] if not shlex.split(line)[2].startswith("-")]
    assert given
    for fingerprint in given:
        insist_on_fingerprint(fingerprint)


def test_help_shows_the_commands_of_the_first_week_on_one_screen() -> None:
    shown = run_keyturn("--help").stdout
    assert all(f"\n  {name} " in shown for name in FIRST_WEEK)
    assert "bootstrap" not in shown
    assert len(shown.splitlines()) <= 45


def test_help_of_all_shows_every_command_in_its_group_in_one_line() -> None:
    shown = run_keyturn("--help", "--all").stdout
    places = [shown.index(f"{heading}:") for heading in GROUPS]
    assert places == sorted(places)
    assert set(SUMMARIES) == set(COMMANDS)
    assert all(f" {SUMMARIES[name]}\n" in shown for name in COMMANDS)


def test_help_of_a_command_shows_its_examples() -> None:
    assert all(f"\n    {line}\n" in run_keyturn("due", "--help").stdout for line in EXAMPLES["due"])
