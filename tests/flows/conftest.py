"""Prefect's server and worker, a local AWS, a notified application, and a failure channel."""

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keyturn.core.sensitive import Sensitive
from keyturn.revocation.incidents import store as incident_store
from local.emulators.aws import LocalAws
from local.pager import Pager
from local.support.ports import free_port
from tests.flows.gate import Door, Gate
from tests.flows.runs import Installed, install
from tests.flows.site import Architect, Site
from tests.support import local_aws
from tests.support.consumer import Consumer
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer, shared
from tests.support.world import REGION


@pytest.fixture(scope="package")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PrefectServer:
    """Prefect's server."""
    return shared(request.config, tmp_path_factory)


@pytest.fixture
def prefect(server: PrefectServer) -> Iterator[PrefectServer]:
    """The server, and this process uses it."""
    with server.in_use():
        yield server


@pytest.fixture(scope="package")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The local AWS, with its key in the environment instead of whatever the machine has."""
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as started, pytest.MonkeyPatch.context() as environment:
        local_aws.use(started, environment)
        yield started


@pytest.fixture(scope="package")
def consumer(lab: Lab) -> Iterator[Consumer]:
    """An application whose signing key lies in the hub at ``webhooks/app/flows``."""
    key = f"whsec_{secrets.token_hex(24)}"
    lab.keep("webhooks/app/flows", {"key": key})
    with Consumer(Sensitive(key)) as listening:
        yield listening


@pytest.fixture(scope="package")
def pager() -> Iterator[Pager]:
    """Where failed runs are reported."""
    listening = Pager(free_port())
    yield listening
    listening.close()


@pytest.fixture(scope="package")
def architect(
    server: PrefectServer, lab: Lab, aws: LocalAws, consumer: Consumer, tmp_path_factory: pytest.TempPathFactory
) -> Architect:
    """Builds sites whose store is ``aws`` and whose consumer is ``app``."""
    stores = {"aws": {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": aws.endpoint_url}}
    consumers = {"app": {"url": consumer.url, "signing_key": "webhooks/app/flows"}}
    return Architect(server, lab, tmp_path_factory.mktemp("sites"), stores, consumers)


@pytest.fixture(scope="package")
def installed(server: PrefectServer, architect: Architect, aws: LocalAws, pager: Pager) -> Installed:
    """Keyturn as ``keyturn setup prefect --apply`` registers it, with a worker at work; schedules rest."""
    with server.in_use():
        return install(server, architect, pager.address)


LOGIN = ("KEYTURN_HUB_ROLE_ID_FILE", "KEYTURN_HUB_SECRET_ID_FILE")


@pytest.fixture
def build(prefect: PrefectServer, architect: Architect, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Site]:
    """Build a site that the flows of this process work on."""

    def built(*declared: object, **changes: object) -> Site:
        site: Site = architect.build(*declared, **changes)  # type: ignore[arg-type]
        # Whoever has given this process a login of its own keeps it.
        own_login = any(os.environ.get(name) for name in ("KEYTURN_HUB_TOKEN_FILE", *LOGIN))
        for name, value in site.variables.items():
            if not (own_login and name in LOGIN):
                monkeypatch.setenv(name, value)
        return site

    return built


@pytest.fixture
def nothing_open(lab: Lab) -> None:
    """No incident is open that another test has left."""
    workspace = lab.open().workspace
    for one in incident_store.list_open(workspace):
        incident_store.update_incident(workspace, one.id, lambda found: replace(found, closed_at=datetime.now(UTC)))


@pytest.fixture
def gate() -> Iterator[Callable[[int, Door], Gate]]:
    """Put a door before a port."""
    made: list[Gate] = []

    def put(behind: int, door: Door) -> Gate:
        made.append(Gate(behind, door))
        return made[-1]

    yield put
    for each in made:
        each.close()
