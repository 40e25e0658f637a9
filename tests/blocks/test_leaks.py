"""No secret value of a flow that uses Keyturn's block reaches Prefect.

A worker of Prefect's own type runs it: to its end, and until somebody cancels it.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from blocks.secret import KeyturnSecret
from local.environment import inherited
from local.leak_scan import scan
from local.prepare import DATABASE
from local.support.process import Process
from tests.blocks.test_setup_environment import ROOT, plugins
from tests.flows.stage import canary
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = pytest.mark.slow

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Stock:
    """A pool of Prefect's own type `process`, its worker, and a deployment of the flow."""

    def __init__(self, server: PrefectServer, directory: Path, variables: dict[str, str]) -> None:
        self.server, self.directory, self.pool = server, directory, f"stock-{uuid4().hex}"
        self.worker = Process("stock", directory)
        self.made = directory / "made.json"
        (directory / "tmp").mkdir()
        self.environment = {
            **inherited(),
            **server.environment,
            **variables,
            "PYTHONPATH": f"{self._installed()}{os.pathsep}{ROOT}",
            "PREFECT_PLUGINS_ENABLED": "true",
            "PREFECT_PLUGINS_STRICT": "true",
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "TMPDIR": str(directory / "tmp"),
            "MADE": str(self.made),
        }

    def start(self) -> None:
        self.server.post("work_pools/", name=self.pool, type="process")
        command = ["-m", "prefect", "worker", "start", f"--pool={self.pool}", "--type=process"]
        ready = lambda: self.worker.says(r"^Worker .* started!")  # noqa: E731
        self.worker.start([sys.executable, *command], ready=ready, environment=self.environment, timeout=120)
        flow, step = self.server.post("flows/", name=self.pool), "prefect.deployments.steps.set_working_directory"
        made = self.server.post(
            "deployments/",
            name=self.pool,
            flow_id=flow["id"],
            work_pool_name=self.pool,
            pull_steps=[{step: {"directory": str(Path(__file__).parent)}}],
            entrypoint="users_flow.py:job",
            enforce_parameter_schema=False,
        )
        self.deployment = made["id"]

    def run(self, **parameters: Any) -> str:
        self.made.unlink(missing_ok=True)
        made = self.server.post(f"deployments/{self.deployment}/create_flow_run", parameters=parameters)
        return str(made["id"])

    def state(self, run: str) -> str:
        return str(self.server.get(f"flow_runs/{run}")["state_type"])

    def _installed(self) -> Path:
        """Names Keyturn's plugin as a wheel would, whichever is installed here."""
        directory = self.directory / "installed"
        information = directory / "keyturn-0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: keyturn\nVersion: 0\n")
        lines = [f"{name} = {value}" for name, value in plugins().items()]
        (information / "entry_points.txt").write_text("\n".join(["[prefect.plugins]", *lines, ""]))
        return directory


@pytest.fixture
def stock(prefect: PrefectServer, lab: Lab, leading: dict[str, str], tmp_path: Path) -> Iterator[Stock]:
    database = {"PGHOST": lab.world.host, "PGPORT": str(lab.world.port), "PGDATABASE": DATABASE, "PGSSLMODE": "disable"}
    trusting = {name: os.environ[name] for name in ("REQUESTS_CA_BUNDLE",)}
    stock = Stock(prefect, tmp_path, leading | database | trusting)
    try:
        stock.start()
        yield stock
    finally:
        stock.worker.stop()


@pytest.mark.attack
def test_no_value_of_a_flow_with_the_block_and_the_hook_is_anywhere(
    stock: Stock, prefect: PrefectServer, lab: Lab, secret: tuple[str, str], role: str, tmp_path: Path
) -> None:
    name, control, leases = f"b{uuid4().hex}", canary("control"), f"database/creds/{role}"
    KeyturnSecret(path=secret[0], field="key").save(name, _sync=True)  # type: ignore[call-arg]
    run = stock.run(name=name, control=control, wait=False)
    assert wait_for(lambda: (state := stock.state(run)) in ENDED and state) == "FAILED"
    values = json.loads(stock.made.read_text())
    assert (values["secret"], values["variable"], values["run"]) == (secret[1], secret[1], run)
    assert values["user"].startswith("v-"), "the engine's own account"
    assert values["beside"] == [], "Prefect writes down what it starts a run with"
    wait_for(lambda: lab.hub.leases(leases) == [])

    run = stock.run(name=name, control=control, wait=True)
    wait_for(stock.made.exists)
    assert len(lab.hub.leases(leases)) == 1
    cancelled = json.loads(stock.made.read_text())
    prefect.post(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"}, force=False)
    assert wait_for(lambda: (state := stock.state(run)) in ENDED and state) == "CANCELLED"
    wait_for(lambda: lab.hub.leases(leases) == [])

    printed = tmp_path / "printed"
    printed.mkdir()

    def arrived() -> bool:
        prefect.write_all(printed)
        return bool(scan([printed / "logs.json"], {"control": control}))

    wait_for(arrived)
    sought = {"secret": values["secret"], "password": values["password"], "another": cancelled["password"]}
    findings = scan([prefect.directory, printed, stock.worker.log, tmp_path / "tmp"], sought | {"control": control})
    assert {finding.name for finding in findings} == {"control"}
    text = stock.worker.log.read_text()
    for serializer in ("pickle", "json"):
        assert f"Failed to serialize object of type 'Sensitive' with serializer '{serializer}'" in text
