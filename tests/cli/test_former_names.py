"""Former names of commands and options still work, and print the names that replace them."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.cli.former_names import COMMANDS, OPTIONS, STILL_RUN, current_words


@pytest.mark.parametrize("former", COMMANDS)
def test_a_former_command_runs_the_one_that_replaces_it_and_says_so(former: str) -> None:
    done = CliRunner().invoke(app, [*former.split(), "--help"])
    assert done.exit_code == 0
    assert f"`keyturn {former}` is now `keyturn {COMMANDS[former]}`" in done.stderr
    if former not in STILL_RUN:
        words = [word for word in COMMANDS[former].split() if word != "--apply"]
        assert done.stdout.replace("\n", " ").strip().startswith(f"Usage: root {' '.join(words)} ")


@pytest.mark.parametrize("command", [*COMMANDS.values(), *OPTIONS])
def test_what_replaces_a_name_exists(command: str) -> None:
    found = get_command(app)
    for word in command.split():
        if not word.startswith("-") and word != "follow":
            found = found.commands[word]  # type: ignore[attr-defined]


def test_options_are_replaced_up_to_another_programs_and_a_layout_is_none() -> None:
    assert current_words(["plan", "-o", "plan.json"])[0] == ["plan", "--out", "plan.json"]
    assert current_words(["plan", "-o", "json"]) == (["plan", "-o", "json"], [])
    assert current_words(["policy", "render", "--output=here"])[0] == ["setup", "store", "--out=here"]
    assert current_words(["review", "BG-1", "--verdict", "right"])[0] == [
        "access",
        "review",
        "BG-1",
        "--finding",
        "right",
    ]
    assert current_words(["rotate", "a/b", "--force"])[0] == ["rotate", "a/b", "--now"]
    assert current_words(["access", "open", "AR-1", "--", "hub", "-o"]) == (
        ["access", "open", "AR-1", "--", "hub", "-o"],
        [],
    )
    assert current_words([]) == ([], [])
