"""The command line shows the complete result of a Prefect run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.core.ports.tracing import TRACE_LABEL
from local.pager import Pager
from tests.flows.runs import Installed, register
from tests.flows.site import Architect, Site
from tests.support.collector import Collector, attributes
from tests.support.hooks import eventually
from tests.support.lab import Declared, Lab, fresh

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

STORES = tuple(f"place-{number}" for number in range(12))
SECRETS = 100


def told(*arguments: str, code: int = 0) -> Any:
    """Run one command with --json, which ends with ``code``; its data."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def secrets(lab: Lab) -> list[Declared]:
    """Many secrets, each with a copy in every store."""
    return [lab.generated(destinations=[{"store": store, "name": fresh()} for store in STORES]) for _ in range(SECRETS)]


@pytest.fixture(scope="module")
def site(
    installed: Installed,
    architect: Architect,
    pager: Pager,
    secrets: list[Declared],
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    """The default workspace of the server, with stores that are directories."""
    root = tmp_path_factory.mktemp("copies")
    stores = {store: {"kind": "file", "directory": str(root / store)} for store in STORES}
    built = architect.build(*secrets, stores=stores)
    with installed.server.in_use():
        register(built, installed.server, pager.address)
    installed.rest()
    return built


@pytest.fixture
def command(
    installed: Installed, site: Site, architect: Architect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """The environment of a person who works with that workspace."""
    world = architect.lab.world
    for name, value in {
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
        "KEYTURN_CATALOGUE": str(architect.directory / site.name),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
    }.items():
        monkeypatch.setenv(name, value)
    with installed.server.in_use():
        yield


def emptied(site: Site) -> None:
    """Take every copy away."""
    for store in STORES:
        settings: Any = site.workspace.catalogue.store(store)
        for file in Path(settings.directory).iterdir():
            file.unlink()


def without_run(data: dict[str, Any]) -> dict[str, Any]:
    """The same, whoever carried it out, in one order."""
    copies = sorted(data["copies"], key=lambda copy: (copy["secret"], copy["store"]))
    return {**data, "copies": copies, "run": None}


def test_a_sync_of_1200_copies_lists_1200_here_and_through_prefect(command: None, site: Site) -> None:
    through_prefect = told("sync")
    assert len(through_prefect["copies"]) == len(STORES) * SECRETS
    assert {copy["state"] for copy in through_prefect["copies"]} == {"created"}
    assert through_prefect["counts"] == {"created": len(STORES) * SECRETS}
    assert through_prefect["run"]["id"]
    emptied(site)
    here = told("sync", "--local")
    assert without_run(here) == without_run(through_prefect)


def test_a_rotation_and_a_retirement_are_told_as_their_runs_left_them(
    command: None, installed: Installed, site: Site, secrets: list[Declared]
) -> None:
    path = secrets[0].path
    before = told("rotate", path)
    assert (before["state"], before["version"], before["destinations"]) == ("not due", 1, [])
    done = told("rotate", path, "--now")
    assert (done["state"], done["version"]) == ("rotated", 2)
    assert {copy["store"]: (copy["state"], copy["version"]) for copy in done["destinations"]} == dict.fromkeys(
        STORES, ("updated", 2)
    )
    assert done["fingerprint"] == done["destinations"][0]["fingerprint"]
    assert len(done["fingerprint"]) == 12, "no more of it is Prefect's to know"
    ended = told("retire", path, "--early")
    assert [(old["path"], old["state"]) for old in ended["secrets"]] == [(path, "retired")]
    assert told("retire", path, "--local")["secrets"] == []


@pytest.mark.attack
def test_a_run_continues_the_trace_of_its_command(
    command: None,
    installed: Installed,
    site: Site,
    secrets: list[Declared],
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collector, path = Collector(httpserver), secrets[2].path
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": httpserver.url_for("").rstrip("/")}
    assert TRACE_LABEL not in installed.server.get(f"flow_runs/{told('rotate', path)['run']['id']}")["labels"]
    for name, value in endpoint.items():
        monkeypatch.setenv(name, value)
    installed.server.settle(site.variables | endpoint)
    run = told("rotate", path, "--now")["run"]["id"]
    ask = collector.named("ask for rotate-secret")

    def flows() -> list[Span]:
        return [span for span in collector.spans() if span.parent_span_id == ask.span_id and span.name[:5] == "flow "]

    assert eventually(flows, 30)
    (flow,) = flows()
    leads = collector.named("flow rotate-secret: asked for elsewhere")
    assert (flow.name, flow.trace_id) == ("flow rotate-secret", ask.trace_id)
    assert attributes(ask) == attributes(flow) == {"keyturn.secret": path, "keyturn.run": run}
    assert leads.trace_id == UUID(run).bytes
    assert {"stage", "promote", "push"} <= {span.name for span in collector.spans() if span.trace_id == ask.trace_id}

    # Whoever may write to Prefect's API may label a run as they like.
    parameters = {"path": path, "trigger": "force"}
    forged = installed.start("rotate-secret", site, endpoint, labels={TRACE_LABEL: "hvs.CANARY"}, **parameters)
    assert installed.ended(forged)["state_type"] == "COMPLETED"
    assert eventually(lambda: [span for span in collector.spans() if span.trace_id == UUID(forged).bytes], 30)
    assert b"CANARY" not in b"".join(collector.bodies)


def test_a_run_that_nobody_waits_for_leaves_its_table_and_its_page_alone(
    installed: Installed, site: Site, secrets: list[Declared]
) -> None:
    run = installed.run("rotate-secret", site, path=secrets[1].path, trigger="force")
    assert run["state_type"] == "COMPLETED"
    left = installed.server.all("artifacts", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    assert sorted(artifact["type"] for artifact in left) == ["markdown", "table"]
