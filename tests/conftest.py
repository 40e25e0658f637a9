"""One hub and one database for the whole run, prepared as the example needs them. A missing server is an error."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from deployments.local.mariadb import MariaDB
from deployments.local.openbao import OpenBao
from deployments.local.postgres import PostgreSQL
from deployments.local.prepare import Hub, prepare
from deployments.local.redis import Redis
from deployments.local.support.ports import free_port
from tests.support import sampling, warden
from tests.support.engines import OverMariaDB, OverPostgreSQL
from tests.support.lab import Lab
from tests.support.world import TOKEN_VARIABLE, World

pytest.register_assert_rewrite(
    "tests.contracts.engines", "tests.contracts.hub", "tests.contracts.ledger", "tests.contracts.strategy"
)


TESTS: Final = Path(__file__).parent
TOGETHER: Final = ("crash", "faults", "flows", "rotation")
"""Packages whose tests share servers that are dear to start: where several processes run tests, one has all of them."""

WORKERS: Final[list[int]] = []
"""The pids of the processes that run tests for this one."""


def pytest_configure(config: pytest.Config) -> None:
    """Let all processes of this run draw the same samples, compile what they import once, and end with it."""
    # To compile what tests import takes each process 10 s, and each child that imports Keyturn half a second.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    sampling.keep_seed()
    warden.watch()
    warden.end_tidily_when_terminated(WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Note which processes run tests for this one."""
    WORKERS.append(node.gateway._rinfo().pid)


def pytest_report_header() -> str:
    """What is tried of long tables."""
    return sampling.description()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The same beside what has failed."""
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(sampling.description())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the sample does not hold, unless it is named, and say which tests stay in one process.

    Those are the ones of a file, or of a whole package.
    """
    if not any("::" in argument for argument in config.args):
        over = set(sampling.left_out(items))
        items[:] = [item for item in items if item not in over]
        config.hook.pytest_deselected(items=list(over))
    for item in items:
        place = item.path.relative_to(TESTS)
        group = place.parts[0] if place.parts[0] in TOGETHER else str(place)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def ledger_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests do stands in a ledger of their own, that of their child processes too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KEYTURN_LEDGER", str(tmp_path_factory.mktemp("ledger") / "ledger.db"))
        yield


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A hub in memory."""
    with OpenBao(tmp_path_factory.mktemp("openbao"), free_port(), dev=True) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """A database that forgets everything when it stops."""
    with PostgreSQL(tmp_path_factory.mktemp("postgres"), free_port(), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """Another database that forgets everything when it stops."""
    with MariaDB(tmp_path_factory.mktemp("mariadb"), free_port(), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A key-value server, with users that tests make."""
    with Redis(tmp_path_factory.mktemp("redis"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def world(openbao: OpenBao, postgres: PostgreSQL) -> Iterator[World]:
    """Both servers, prepared; the root token is in the environment while tests run."""
    hub = Hub(openbao.address, openbao.root_token)
    prepare(hub, postgres.host, postgres.port, postgres.superuser_password, ())
    hub.database_engine(postgres.host, postgres.port, "unused")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(TOKEN_VARIABLE, openbao.root_token)
        yield World(
            openbao.address,
            openbao.root_token,
            postgres.host,
            postgres.port,
            postgres.superuser_password,
            str(postgres.process.log),
        )


@pytest.fixture(scope="session")
def lab(world: World) -> Iterator[Lab]:
    """Makes fresh secrets in the world, and opens them."""
    with Lab(world) as made:
        yield made


@pytest.fixture(scope="session")
def over_postgresql(lab: Lab) -> OverPostgreSQL:
    """The hub's database engine in front of the lab's database."""
    return OverPostgreSQL(lab)


@pytest.fixture(scope="session")
def over_mariadb(lab: Lab, mariadb: MariaDB) -> OverMariaDB:
    """The hub's database engine in front of a MariaDB."""
    return OverMariaDB(lab, mariadb)
