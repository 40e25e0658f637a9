"""Every error has a code that never changes, and a page that says what is safe and what to do."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyturn import __version__
from keyturn.cli.app import app
from keyturn.cli.commands import COMMANDS
from keyturn.core import errors
from keyturn.core.error_codes import EXPLANATIONS, code_of, code_of_kind, explain_error
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.envelope import Refusal, SealRefused

ROOT = Path(__file__).parents[2]

FROZEN = {
    "KeyturnError": "KT000",
    "TransientError": "KT100",
    "Unavailable": "KT101",
    "Throttled": "KT102",
    "Locked": "KT103",
    "Contended": "KT104",
    "Unrecorded": "KT105",
    "Unwitnessed": "KT106",
    "NotEnded": "KT107",
    "HubUnavailable": "KT108",
    "TerminalError": "KT200",
    "NotFound": "KT201",
    "Missing": "KT202",
    "OverLimit": "KT203",
    "Denied": "KT204",
    "Unproven": "KT205",
    "Invalid": "KT206",
    "Conflict": "KT207",
    "Taken": "KT208",
    "Rewritten": "KT209",
    "Ahead": "KT210",
    "NotOwned": "KT211",
    "CandidateRejected": "KT212",
    "CertainRefusal": "KT213",
    "Misrendered": "KT214",
    "Unprivileged": "KT215",
    "Superseded": "KT216",
    "UnsupportedOperation": "KT217",
    "Unforeseen": "KT218",
    "NotWritable": "KT219",
    "CredentialLost": "KT220",
    "NothingMade": "KT221",
    "PreviousUnended": "KT222",
    "LoginRefused": "KT223",
}
"""What scripts and runbooks rely on: a line may be added, and none is ever changed."""

runner = CliRunner()


def test_each_class_of_errors_has_the_code_that_it_always_had() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KeyturnError)]
    assert {kind.__name__: explain_error(kind).code for kind in kinds} == FROZEN
    assert {name: code_of_kind(name) for name in FROZEN} == FROZEN
    assert len({entry.code for entry in EXPLANATIONS}) == len(EXPLANATIONS) == len(FROZEN)


def test_the_first_digit_says_whether_it_may_pass_by_itself() -> None:
    for entry in EXPLANATIONS[1:]:
        assert entry.code.startswith("KT1") == issubclass(entry.kind, errors.TransientError), entry.code


def test_a_class_of_its_own_part_has_the_code_of_what_it_is_derived_from() -> None:
    assert code_of(SealRefused(Refusal.FOREIGN, "a/b", "it is sealed for another")) == "KT200"
    assert code_of_kind("conflict") == ""


def test_the_page_is_made_from_the_table() -> None:
    shown = runner.invoke(app, ["explain", "--markdown"])
    assert (shown.exit_code, shown.stdout) == (0, (ROOT / "docs" / "errors.md").read_text())


@pytest.mark.parametrize("entry", EXPLANATIONS, ids=lambda entry: entry.code)
def test_each_code_names_a_command_that_there_is(entry: object) -> None:
    command = entry.command.split()  # type: ignore[attr-defined]
    assert command[0] == "keyturn"
    assert command[1] in {*COMMANDS, "COMMAND"}


def test_a_code_is_explained_in_capitals_or_not_and_all_are_listed() -> None:
    shown = runner.invoke(app, ["explain", "kt101"]).stdout
    assert shown.startswith("KT101: The other side does not answer\n")
    assert "What is safe: " in shown
    assert "What to do: " in shown
    assert [line.split()[0] for line in runner.invoke(app, ["explain"]).stdout.splitlines()] == list(FROZEN.values())
    listed = json.loads(runner.invoke(app, ["explain", "--json"]).stdout)["errors"]
    assert {entry["kind"]: entry["code"] for entry in listed} == FROZEN


def test_an_error_ends_with_its_code() -> None:
    refused = runner.invoke(app, ["explain", "KT999"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[0] == "error: explain KT999: there is no such code (KT201)"


def test_versions_are_told_without_loading_what_is_told_of() -> None:
    look = (
        "import sys\nsys.argv = ['keyturn', 'version', '--json']\nfrom keyturn.cli import main\n"
        "try:\n    main()\nfinally:\n    print([n for n in ('prefect', 'rich') if n in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False, timeout=60)
    text, _, loaded = shown.stdout.rstrip().rpartition("\n")
    told = json.loads(text)
    assert (told["keyturn"], told["python"], loaded) == (__version__, platform.python_version(), "[]")
    assert told["prefect"]
