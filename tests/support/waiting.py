"""Tests that start servers and then wait, for those of ``test_warden.py`` to end. No run collects them by itself."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from deployments.local.mariadb import MariaDB
from deployments.local.redis import Redis
from tests.support.lab import Lab
from tests.support.prefect_server import shared

LONG = 600
"""Seconds."""


def test_hub_and_databases(lab: Lab, mariadb: MariaDB, redis: Redis) -> None:
    """A process in a session of its own, too, as a worker's runs are."""
    subprocess.Popen(["sleep", str(LONG)], start_new_session=True)
    wait("databases")


def test_prefect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its server."""
    shared(request.config, tmp_path_factory)
    wait("prefect")


def wait(name: str) -> None:
    """Say that all is there."""
    (Path(os.environ["WAITING"]) / name).touch()
    time.sleep(LONG)
