"""A flow in another repository chains steps of a rotation, as docs/prefect.md shows it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.project import steps
from tests.flows.site import Architect, destination
from tests.support.consumer import Consumer
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.sampled(4, of="files")]

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "docs" / "prefect.md").read_text().partition("### Steps in flows of your own")[2].partition("\n## ")[0]
)


def test_the_documented_flow_rotates_a_secret(
    prefect: PrefectServer, architect: Architect, lab: Lab, consumer: Consumer, tmp_path: Path
) -> None:
    secret = lab.alternating(destinations=[destination()], consumers=["app"])
    site = architect.build(secret)
    (program,) = re.findall(r"```python\n(.*?)```", SECTION, re.S)
    (tmp_path / "release.py").write_text(program)
    name = site.place(secret, "aws").name
    variables = {**os.environ, **prefect.environment, **site.variables, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "release.py", secret.path, "aws", name, "app"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert site.version(secret) == 2
    assert site.served(secret) == lab.current(secret)
    assert lab.logs_in(lab.current(secret))
    assert consumer.versions(secret.path) == [2]


def test_every_step_of_the_table_is_a_task() -> None:
    rows = re.findall(r"^\| `(\w+)\(", SECTION, re.M)
    assert tuple(rows) == steps.STEPS
    assert all(getattr(steps, name).persist_result is False for name in rows)
