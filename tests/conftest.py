"""One hub and one database for the whole run, prepared as the example needs them. A missing server is an error."""

import functools
import gc
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from os.path import relpath
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

import hypothesis
import pytest
import typer.testing

from local.support.ports import RANGE, RANGE_VARIABLE, free_port
from tests.support import collecting, durations, retry, sampling, shards, warden
from tests.support.loose import LOOSE_LIMITS
from tests.support.sampling import ROOT

if TYPE_CHECKING:  # a file of tests pays for the servers that it uses, and for no others
    from local.mariadb import MariaDB
    from local.openbao import OpenBao
    from local.postgres import PostgreSQL
    from local.redis import Redis
    from tests.support.engines import OverMariaDB, OverPostgreSQL
    from tests.support.lab import Lab
    from tests.support.world import World

pytest.register_assert_rewrite(
    "tests.contracts.engines", "tests.contracts.hub", "tests.contracts.ledger", "tests.contracts.strategy"
)


for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    # As in the background of a shell that has no jobs: what tests begin would ignore what is typed as well.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

TESTS: Final = Path(__file__).parent
PROCESSES: Final = 3
"""Tests wait a lot, so two cores have enough to do with that; each has servers of its own."""

GROUPS: Final = {
    "flows/test_leaks.py": "leaks",
    "flows/test_bootstrap.py": "leaks",
    "wall/test_prefect_api.py": "leaks",
    "flows/test_workspaces.py": "leaks",
    "flows/test_installed_wheel.py": "leaks",
    "flows": "flows",
    "blocks": "flows",
    "tasks": "flows",
    "crash": "crash",
    "faults": "faults",
    "deployments/test_whole_stack.py": "",
    "sync/drift": "drift",
    "test_compose_run.py": "",
    "deployments/test_drill_in_a_stack.py": "",
    "cli/test_stack.py": "",
    "revocation/test_late.py": "",
    "revocation/test_stores.py": "",
    "rotation": "rotation",
    "cli/test_sync.py": "",
    "sync/test_killed.py": "",
    "support/test_warden.py": "",
    "sync/test_converges.py": "",
    "test_documents.py": "",
    "test_packaging.py": "",
    "wall/test_policies.py": "",
    "test_manual.py": "",
    "test_architecture.py": "",
}
"""Where several processes run tests, the longest begin, so that none ends alone with one. Tests of one group share
servers that are dear to start, so one process has all of them; without a name it is a file's.
"""

WORKERS: Final[list[int]] = []
"""The pids of the processes that run tests for this one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option of these tests."""
    parser.addoption(durations.OPTION, action="store_true", help="show which files and fixtures take the time")


def pytest_configure(config: pytest.Config) -> None:
    """Let all processes of this run draw the same samples, compile what they import once, and end with it."""
    # To compile what tests import takes each process 10 s, and each child that imports Keyturn half a second.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # No test asserts a time: on a busy machine an example may take long.
    hypothesis.settings.register_profile("tests", deadline=None, max_examples=sampling.examples(30, 100))
    hypothesis.settings.load_profile("tests")
    sampling.keep_seed()
    # To make its commands of Typer's declarations takes 60 ms each time.
    typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]
    choose_ports_apart()
    retry.list_failures(config)
    config.pluginmanager.register(durations.Durations(config))
    warden.watch()
    warden.end_tidily_when_terminated(WORKERS)
    try:
        shard = shards.chosen()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    if shard and not hasattr(config, "workerinput"):
        config.pluginmanager.register(shards.Recorder(shard))


def choose_ports_apart() -> None:
    """Give each process of a run ports of its own: one that another has chosen looks free until somebody listens."""
    number, count = (
        os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:],
        int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)),
    )
    share = len(RANGE) // count
    first = RANGE.start + int(number) * share
    os.environ[RANGE_VARIABLE] = f"{first}-{first + share - 1}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes ``make test`` takes: one file is not worth starting any."""
    files = [argument for argument in config.args if argument.partition("::")[0].endswith(".py")]
    return 0 if len(config.args) == len(files) == 1 else PROCESSES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Note which processes run tests for this one."""
    WORKERS.append(node.gateway._rinfo().pid)


def belongs_with(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Whether the next test may ask the servers of this one."""
    if nextitem is None:
        return False
    file, following = file_of(item.nodeid), file_of(nextitem.nodeid)
    return file.parent == following.parent or group_of(file) == group_of(following)


def files_in(arguments: list[str]) -> list[str]:
    """The files of tests that are named, as the names of their tests begin."""
    return [relpath(argument, ROOT) for argument in arguments if argument.endswith(".py")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Stop Prefect's server behind the last test of its group: it works even where nobody asks it."""
    result = yield
    # To import it is to import Prefect. Files of one folder share fixtures that know the server.
    servers = sys.modules.get("tests.support.prefect_server")
    if servers and not belongs_with(item, nextitem):
        servers.stop_shared(item.config)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[Any]:
    """Look for no garbage while tests are collected, nor among what was collected ever after.

    All of it stays to the end of the run, and to look through it again and again is half of what collecting costs.
    """
    gc.disable()
    try:
        collecting.share_out(session.config.args)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_report_header() -> str:
    """What is tried of long tables."""
    return sampling.description()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The same beside what has failed."""
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(sampling.description())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the sample or the shard does not hold, unless it is named, and begin with the longest groups."""
    if not any("::" in argument for argument in config.args):
        named = files_in(config.args)
        over = set(sampling.left_out(items, named))
        config.stash[sampling.DRAWN] = sampling.drawn(items, over, named)
        if shard := shards.chosen():
            over.update(shards.not_in_shard(items, shard))
        items[:] = [item for item in items if item not in over]
        config.hook.pytest_deselected(items=list(over))
    order = [*GROUPS]
    items.sort(key=lambda item: order.index(entry) if (entry := entry_of(file_of(item.nodeid))) else len(order))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole groups, the first ones first.

    The plugin's own way by marks, which it adds to the names of tests, has no effect on the newest pytest.
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(file_of(nodeid))

    return Groups(config, log)


def file_of(nodeid: str) -> PurePath:
    """The test's file below the folder of all tests."""
    file = PurePath(nodeid.partition("::")[0])
    return file.relative_to(TESTS.name) if file.parts[0] == TESTS.name else file


def entry_of(file: PurePath) -> str | None:
    """The first of the groups' entries that is this file or a folder around it."""
    around = {str(file), *map(str, file.parents)}
    return next((entry for entry in GROUPS if entry in around), None)


def group_of(file: PurePath) -> str:
    """The tests that run in one process with those of the file."""
    entry = entry_of(file)
    return (GROUPS[entry] if entry else "") or str(file)


@pytest.fixture(scope="session", autouse=True)
def limits_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A run of the tests is an hour of one login: the operator lets it ask for more than people do.

    Catalogues of the tests may name files, and write, below the directories for temporary files and those of the docs.
    """
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    temporary = [os.path.realpath(place) for place in (tempfile.gettempdir(), tmp_path_factory.getbasetemp())]
    places = {
        "files": [*temporary, "/etc/keyturn", "/run", "/var/log/openbao"],
        "directories": [*temporary, "/run", "/srv"],
    }
    file.write_text(json.dumps({"limits": LOOSE_LIMITS, "undeclared": ["*:**"], **places}))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KEYTURN_POLICY", str(file))
        yield


@pytest.fixture(scope="session", autouse=True)
def ledger_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests do stands in a ledger of their own, that of their child processes too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KEYTURN_LEDGER", str(tmp_path_factory.mktemp("ledger") / "ledger.db"))
        yield


@pytest.fixture(autouse=True)
def nothing_of_other_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """A hub belongs to one ledger, and counts an hour: the tests' one hub to each ledger in turn, and for each test.

    Its ledger is forgotten behind a test, too: what the next module sets up comes before its first test.
    """
    if "world" not in request.fixturenames:
        yield
        return
    from hvac.exceptions import InvalidPath

    kv = request.getfixturevalue("world").root().secrets.kv.v2

    def below(path: str) -> list[str]:
        with suppress(InvalidPath):  # nothing is there yet
            return [f"{path}/{key}" for key in kv.list_secrets(path, mount_point="keyturn")["data"]["keys"]]
        return []

    waiting = [event for folder in below("unrecorded") for event in below(folder.removesuffix("/"))]
    # Ledgers that tests make are all called by the workspace, unless they say a name.
    for path in ("ledger", "ledgers/keyturn/default", *waiting, *below("limits")):
        kv.delete_metadata_and_all_versions(path, mount_point="keyturn")
    yield
    kv.delete_metadata_and_all_versions("ledger", mount_point="keyturn")


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[OpenBao]":
    """A hub in memory, which speaks TLS."""
    from local.openbao import OpenBao
    from local.support.tls import certificate_in

    directory = tmp_path_factory.mktemp("openbao")
    tls = certificate_in(directory / "tls")
    with OpenBao(directory, free_port(), dev=True, certificate=tls) as server, pytest.MonkeyPatch.context() as patch:
        # What a client of the tests' own trusts, or a process, that is told of no authority.
        patch.setenv("REQUESTS_CA_BUNDLE", str(tls.authority))
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[PostgreSQL]":
    """A database that forgets everything when it stops."""
    from local.postgres import PostgreSQL

    with PostgreSQL(tmp_path_factory.mktemp("postgres"), free_port(), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[MariaDB]":
    """Another database that forgets everything when it stops."""
    from local.mariadb import MariaDB

    with MariaDB(tmp_path_factory.mktemp("mariadb"), free_port(), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Redis]":
    """A key-value server, with users that tests make."""
    from local.redis import Redis

    with Redis(tmp_path_factory.mktemp("redis"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def world(openbao: "OpenBao", postgres: "PostgreSQL") -> "Iterator[World]":
    """Both servers, prepared; the root token is in the environment while tests run."""
    from local.prepare import READER, Hub, prepare
    from tests.support.world import TOKEN_VARIABLE, World

    hub = Hub(openbao.address, openbao.root_token, openbao.ca_file)
    roles = (READER, "unused")
    prepare(hub, postgres.host, postgres.port, postgres.superuser_password, (), roles=roles)
    hub.first("targets/pg", hub.first("targets/ml-postgres", {}, "keyturn"), "keyturn")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(TOKEN_VARIABLE, openbao.root_token)
        yield World(
            openbao.address,
            openbao.root_token,
            postgres.host,
            postgres.port,
            postgres.superuser_password,
            str(postgres.process.log),
            openbao.ca_file,
            openbao.clear_port,
        )


@pytest.fixture(scope="session")
def lab(world: "World") -> "Iterator[Lab]":
    """Makes fresh secrets in the world, and opens them."""
    from tests.support.lab import Lab

    with Lab(world) as made:
        yield made


@pytest.fixture(scope="session")
def over_postgresql(lab: "Lab") -> "OverPostgreSQL":
    """The hub's database engine in front of the lab's database."""
    from tests.support.engines import OverPostgreSQL

    return OverPostgreSQL(lab)


@pytest.fixture(scope="session")
def over_mariadb(lab: "Lab", mariadb: "MariaDB") -> "OverMariaDB":
    """The hub's database engine in front of a MariaDB."""
    from tests.support.engines import OverMariaDB

    return OverMariaDB(lab, mariadb)
