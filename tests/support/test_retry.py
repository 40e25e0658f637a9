"""A failure that a second run repeats fails; one that it does not is named as flaky."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.retry import MOST, VARIABLE, main
from tests.support.sampling import ROOT

TESTS = """
from pathlib import Path
import pytest

def test_flaky():
    tried = Path("tried").exists()
    Path("tried").touch()
    assert tried, "not yet"

@pytest.mark.parametrize("name", ["a b", "[c]"])
def test_well(name): pass
"""
BROKEN = "\ndef test_broken(): assert False, 'always'\n"
PYTEST = [sys.executable, "-m", "pytest", "-q"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conftest.py").write_text("from tests.support.retry import list_failures as pytest_configure\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return tmp_path


def run(folder: Path) -> tuple[int, Path]:
    """Run the folder's tests, as `make test` does; its exit code, and its list of failures."""
    file = folder / "failures.json"
    done = subprocess.run([*PYTEST, "."], env={**os.environ, VARIABLE: str(file)}, capture_output=True, check=False)
    return done.returncode, file


def test_a_test_that_passes_the_second_time_is_flaky(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, file = run(folder)
    assert code == 1
    assert main(file, PYTEST) == 0
    said = capfd.readouterr().out
    assert "flaky: test_some.py::test_flaky: AssertionError: not yet" in said
    assert "1 passed" in said  # that one alone


def test_a_test_that_fails_twice_fails_the_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "test_some.py").write_text(TESTS + BROKEN)
    assert main(run(folder)[1], PYTEST) == 1
    said = capfd.readouterr().out
    assert "FAILED: a second run of test_some.py ended with 1, too" in said
    assert "flaky:" not in said


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("import nothing_like_this", "ended with 2"),
        ("\n".join(f"def test_{number}(): assert 0" for number in range(MOST + 1)), f"{MOST + 1} tests failed"),
        ("def test_kills_the_run():\n    import os; os._exit(1)", "no list of failures"),
    ],
)
def test_what_is_no_flake_is_not_run_again(
    folder: Path, capfd: pytest.CaptureFixture[str], tests: str, reason: str
) -> None:
    (folder / "test_some.py").write_text(tests)
    assert main(run(folder)[1], PYTEST) == 1
    said = capfd.readouterr().out
    assert reason in said
    assert "retry: 1 of" not in said
