"""The demonstration prints its outcome on one screen. A deep run tries it: it takes two minutes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import ROOT, surroundings
from tests.support.sampling import deep

MOST_LINES = 45


@pytest.mark.slow
@pytest.mark.skipif(not deep(), reason="a deep run starts the demonstration's stack")
def test_every_step_of_the_demonstration_succeeds_and_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "keyturn.cli", "demo"]
    done = subprocess.run(
        command, env=surroundings(tmp_path / "home"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= MOST_LINES
    assert len([line for line in lines if line.startswith("✓")]) >= 10
    assert not [line for line in lines if line.startswith("✗")]
    assert "Every step succeeded" in done.stdout
