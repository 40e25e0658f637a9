"""A database that may be stopped, and a hub that may be sealed and whose disk may be full: of these tests alone."""

import dataclasses
import secrets
from collections.abc import Iterator

import pytest

from keyturn.core.sensitive import Sensitive
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import Hub, prepare_database
from local.support.files import private_directory, write_private
from local.support.ports import free_port
from tests.crash.kinds import KINDS, Kind
from tests.crash.site import Site
from tests.faults.disk import Disk, growing_may_fail
from tests.faults.operators import STRATEGIES
from tests.faults.servers import Database, DurableHub
from tests.support import local_aws
from tests.support.consumer import Consumer
from tests.support.lab import Lab
from tests.support.world import World


@pytest.fixture(autouse=True)
def ledger_of_the_shared_hub(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A ledger of their own for tests on the hub of all tests: a ledger that it has signed belongs to no other hub."""
    if not {"site", "own_hub"} & {*request.fixturenames}:
        monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path_factory.mktemp("ledger") / "ledger.db"))


@pytest.fixture(scope="package")
def own_database(world: World, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A durable PostgreSQL, with the admin account that the hub knows."""
    server = PostgreSQL(tmp_path_factory.mktemp("own-postgres"), free_port())
    server.start()
    try:
        password = server.superuser_password
        admin = lab.admin()["password"].reveal()
        prepare_database(server.host, server.port, password, admin, secrets.token_urlsafe(24))
        log = str(server.process.log)
        here = dataclasses.replace(world, port=server.port, superuser_password=password, log=log)
        with Lab(here) as made:
            yield Database(server, made)
    finally:
        server.stop()
        server.remove()


@pytest.fixture
def database(own_database: Database) -> Iterator[Database]:
    """The same; it runs, and may be written to, when the test is over."""
    yield own_database
    own_database.up()


@pytest.fixture(scope="package")
def own_hub(world: World, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DurableHub]:
    """A durable OpenBao on a small disk, with the same root token; its database is that of all tests."""
    directory = tmp_path_factory.mktemp("own-openbao")
    with Disk(directory) as disk:
        server = OpenBao(private_directory(directory / "bao"), free_port())
        write_private(server.directory / "root.token", world.hub_token)
        with growing_may_fail():
            server.start()
            # The first start may still be trying to unseal it, and would undo a seal seconds later.
            server.stop()
            server.start()
        try:
            hub = Hub(server.address, server.root_token)
            hub.set_up()
            for name in ("ml-postgres", "pg"):
                hub.first(f"targets/{name}", lab.admin().reveal(), "keyturn")
            with Lab(dataclasses.replace(world, hub_address=server.address, hub_ca=None, hub_clear_port=None)) as made:
                yield DurableHub(server, disk, made)
        finally:
            server.stop()


@pytest.fixture
def durable_hub(own_hub: DurableHub) -> Iterator[DurableHub]:
    """The same; it is unsealed, and has room, when the test is over."""
    yield own_hub
    own_hub.mend()


@pytest.fixture(scope="package")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The local AWS, with its key in the environment instead of whatever the machine has."""
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server, pytest.MonkeyPatch.context() as environment:
        local_aws.use(server, environment)
        yield server


@pytest.fixture(scope="package")
def consumer(lab: Lab) -> Iterator[Consumer]:
    """An application that is told, whose key lies in the hub."""
    key = f"whsec_{secrets.token_hex(24)}"
    lab.keep("webhooks/app/faults", {"key": key})
    with Consumer(Sensitive(key), "webhooks/app/faults") as listening:
        yield listening


@pytest.fixture(scope="package")
def site(world: World, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A durable hub of these tests alone, with the same root token, and all servers that the kinds need."""
    server = OpenBao(tmp_path_factory.mktemp("operators"), free_port())
    server.directory.mkdir(exist_ok=True)
    (server.directory / "root.token").write_text(world.hub_token)
    with server:
        hub = Hub(server.address, server.root_token)
        hub.set_up()
        for name in ("ml-postgres", "pg"):
            hub.first(f"targets/{name}", lab.admin().reveal(), "keyturn")
        hub.database_engine(world.host, world.port, ("unused",))
        with (
            Lab(dataclasses.replace(world, hub_address=server.address, hub_ca=None, hub_clear_port=None)) as made,
            Site(made) as opened,
        ):
            yield opened


@pytest.fixture(scope="package")
def kinds(site: Site) -> dict[str, Kind]:
    """Of each strategy one, prepared."""
    made = {kind.name: kind() for kind in KINDS if kind.name in STRATEGIES}
    for kind in made.values():
        kind.prepare(site)
    return made
