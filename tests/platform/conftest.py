"""One such machine for all of these tests."""

from collections.abc import Iterator

import pytest

from tests.platform import needs
from tests.platform.engine import Engine
from tests.platform.guest import BUILT, Guest, programs
from tests.platform.installation import SERVING, Installation

KEEPER_SECONDS = "15"
"""Between two runs of the keeper, which otherwise looks every quarter of an hour."""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    needs.require(quick=True)
    with Guest(tmp_path_factory.mktemp("guest"), programs()) as guest:
        installation = Installation(guest)
        installation.install()
        guest.run("install", "-d", "-o", "keyturn-backup", "-m", "0700", "/srv/backups")
        guest.run("bash", "-euc", installation.start_units)
        guest.run("systemctl", "enable", "--now", *SERVING)
        schedule = ("schedule", "create", "keeper/keeper", "--interval", KEEPER_SECONDS)
        guest.run("prefect", "--no-prompt", "deployment", *schedule, environment=installation.settings)
        yield installation


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    needs.require(quick=False, programs=needs.ENGINE)
    with Engine(BUILT / "engine") as engine:
        yield engine
