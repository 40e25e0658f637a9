"""The guide to a new strategy can't rot: its example is real, passes the contract, loads, and rotates."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from docs.examples.plain_tokens import PlainTokens
from docs.examples.test_token_files import TestTokenFiles, lets_in
from docs.examples.token_files import TokenFiles
from keyturn.core.overrides import Waive
from keyturn.core.ports.strategies import Change
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.contracts.strategy import Case, StrategyContract
from tests.support.lab import Lab

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "add-a-strategy.md"
FILES = [ROOT / "docs" / "examples" / name for name in ("plain_tokens.py", "token_files.py", "test_token_files.py")]

__all__ = ["TestTokenFiles"]
"""The contract, which pytest runs here."""


class TestPlainTokens(StrategyContract):
    """The smallest strategy keeps the contract, but for what it says that it lacks."""

    changes = frozenset({"id", "token"})
    has_place = False
    answers = False

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        strategy = PlainTokens(tmp_path)
        current = strategy.mint(None)
        strategy.install(Change("apps/plain", 1, current, None))
        return Case(
            strategy,
            current,
            works=lambda fields: fields["token"].reveal() in {file.read_text() for file in tmp_path.iterdir()},
            spoilt=lambda candidate: candidate.merged({"token": "not-the-token-that-was-written"}),
        )


LOADS = """
import sys, types
from pathlib import Path

from docs.examples import token_files

sys.modules["keyturn.strategies.token_files"] = token_files
registry = types.ModuleType("keyturn.strategies.registry")
exec(compile(sys.stdin.read(), "registry.py", "exec"), registry.__dict__)
sys.modules["keyturn.strategies.registry"] = registry

from keyturn.catalogue import load_catalogue

strategy = load_catalogue(Path(sys.argv[1]), {}).secret("apps/gateway").rotation.open("apps/gateway", None)
print(type(strategy).__name__, strategy.directory)
"""
"""Loads a catalogue with the registry that comes from standard input, in an interpreter of its own."""


def blocks(language: str) -> list[str]:
    """The guide's blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), flags=re.M | re.S)


def test_every_piece_of_code_in_the_guide_is_the_examples_own() -> None:
    files = "\n".join(file.read_text() for file in FILES)
    assert len(blocks("python")) > 5
    assert [block for block in blocks("python") if block.strip() not in files] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_guide_shows_the_whole_example(file: Path) -> None:
    shown = "\n".join(blocks("python"))
    assert [line for line in file.read_text().splitlines() if line not in shown] == []


def registry_with(diff: str) -> str:
    """The real registry with the lines that the guide adds."""
    lines, at = (ROOT / "keyturn" / "strategies" / "registry.py").read_text().splitlines(), 0
    for line in diff.splitlines():
        if line.startswith("+"):
            lines.insert(at, line[1:])
            at += 1
        else:
            at = lines.index(line[1:], at) + 1
    return "\n".join(lines)


def test_the_lines_that_register_it_are_all_that_the_catalogue_needs(tmp_path: Path) -> None:
    (diff,), (example,) = blocks("diff"), blocks("yaml")
    assert len([line for line in diff.splitlines() if line.startswith("+")]) == 1
    (tmp_path / "all.yaml").write_text(example)
    run = [sys.executable, "-c", LOADS, str(tmp_path)]
    told = subprocess.run(
        run, cwd=ROOT, input=registry_with(diff), capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split() == ["TokenFiles", "/var/lib/gateway/tokens"]


def test_the_example_rotates_a_secret_and_ends_the_old_token(lab: Lab, tmp_path: Path) -> None:
    secret, strategy = lab.generated(), TokenFiles("apps/gateway", tmp_path)
    workspace = replace(lab.open(secret).workspace, open_strategy=lambda path: strategy)
    versions = []
    for _ in range(3):
        assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
        versions.append(SecretFields(lab.current(secret)))
        assert lets_in(tmp_path, versions[-1])
    assert retire(workspace, secret.path, Waive.EVERYTHING).retired
    assert [lets_in(tmp_path, version) for version in versions] == [False, False, True]


def test_the_smallest_strategy_has_six_verbs() -> None:
    verbs = {name for name in vars(PlainTokens) if not name.startswith("_")} - {"credential_fields"}
    assert verbs == {"mint", "install", "verify", "credential_id", "retire", "revoke"}


def test_the_guide_explains_every_verb_of_the_port() -> None:
    port = (ROOT / "keyturn" / "core" / "ports" / "strategies.py").read_text()
    strategy = port[port.index("class Strategy(") : port.index("class AccountTarget(")]
    strategy += port[port.index("class ReadsConnections(") :]
    verbs = set(re.findall(r"def (\w+)\(", strategy)) | {"mints_at_target", "overlaps", "expires_at"}
    assert len(verbs) > 10
    assert {verb for verb in verbs if f"`{verb}`" not in GUIDE.read_text()} == set()
