"""Tests that start servers and then wait, for those of ``test_warden.py`` to end. No run collects them by itself."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from local.mariadb import MariaDB
from local.redis import Redis
from tests.faults.disk import Disk
from tests.support.lab import Lab
from tests.support.prefect_server import shared

LONG = 600
"""Seconds."""


def test_hub_and_databases(lab: Lab, mariadb: MariaDB, redis: Redis, tmp_path: Path) -> None:
    """A process in a session of its own too, as a worker's runs are, and a mounted disk."""
    subprocess.Popen(["sleep", str(LONG)], start_new_session=True)
    with Disk(tmp_path, size="1m") as disk:
        report("mounted" if disk.mounted else "unmounted")
        report("databases")
        time.sleep(LONG)


def test_prefect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its server."""
    shared(request.config, tmp_path_factory)
    report("prefect")
    time.sleep(LONG)


def report(name: str) -> None:
    """Let the test that started this one know what is ready."""
    (Path(os.environ["WAITING"]) / name).touch()
