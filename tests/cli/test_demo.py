"""Both wheels in an empty directory hold all that the demonstration needs, and it prints its outcome on one screen."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import surroundings
from tests.support.sampling import deep
from tests.support.wheels import install

MOST_LINES = 45


def run_demo(directory: Path, *distributions: str) -> subprocess.CompletedProcess[str]:
    """``keyturn demo`` from the wheels of these distributions, in an empty directory."""
    python = install(directory, *distributions)
    empty = directory / "empty"
    empty.mkdir()
    # The stack's directory has the default name, in the directory that the command is run in.
    variables = surroundings(directory / "home")
    variables = {name: text for name, text in variables.items() if name not in ("PYTHONPATH", "KEYTURN_HOME")}
    return subprocess.run(
        [str(python), "-m", "keyturn", "demo"], env=variables, cwd=empty, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.skipif(not deep(), reason="a deep run starts the demonstration's stack")
def test_every_step_of_the_demonstration_succeeds_from_both_wheels(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "keyturn", "keyturn-local")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= MOST_LINES
    assert len([line for line in lines if line.startswith("✓")]) >= 10
    assert not [line for line in lines if line.startswith("✗")]
    assert "Every step succeeded" in done.stdout
    assert os.listdir(tmp_path / "empty") == [".keyturn"]


def test_without_keyturn_local_the_command_names_the_extra_that_brings_it(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "keyturn")
    assert done.returncode == 1
    assert "pip install 'keyturn[local]'" in done.stderr
