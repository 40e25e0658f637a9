"""No value of a flow that uses the block and the hook reaches Prefect, however careless the flow is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from blocks.secret import KeyturnSecret
from deployments.local.leak_scan import scan
from deployments.local.prepare import DATABASE
from tests.blocks.test_setup_environment import ROOT, plugins
from tests.flows.stage import canary
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(5, of="files")]


def test_no_value_of_a_flow_with_the_block_and_the_hook_is_anywhere(
    prefect: PrefectServer, lab: Lab, leading: dict[str, str], secret: tuple[str, str], role: str, tmp_path: Path
) -> None:
    name, control = f"b{uuid4().hex}", canary("control")
    KeyturnSecret(path=secret[0], field="key").save(name, _sync=True)  # type: ignore[call-arg]
    flow = prefect.post("flows/", name=f"users-{name}")
    parameters = {"name": name, "control": control}
    run = prefect.post("flow_runs/", flow_id=flow["id"], parameters=parameters, state={"type": "PENDING"})
    made, installed = tmp_path / "made.json", tmp_path / "installed" / "keyturn-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: keyturn\nVersion: 0\n")
    lines = [f"{key} = {value}" for key, value in plugins().items()]
    (installed / "entry_points.txt").write_text("\n".join(["[prefect.plugins]", *lines, ""]))
    environment = {
        **os.environ,
        **prefect.environment,
        **leading,
        "PYTHONPATH": f"{installed.parent}{os.pathsep}{ROOT}",
        "PREFECT_PLUGINS_ENABLED": "true",
        "PREFECT_PLUGINS_STRICT": "true",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT__FLOW_RUN_ID": run["id"],
        "PGHOST": lab.world.host,
        "PGPORT": str(lab.world.port),
        "PGDATABASE": DATABASE,
        "PGSSLMODE": "disable",
        "MADE": str(made),
    }
    command = [sys.executable, "-m", "prefect.flow_engine", f"{ROOT / 'tests/blocks/users_flow.py'}:job"]
    ended = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path, timeout=120)
    printed = tmp_path / "printed"
    printed.mkdir()
    (printed / "out.txt").write_bytes(ended.stdout + ended.stderr)
    assert made.exists(), ended.stderr.decode()[-3000:]
    values = json.loads(made.read_text())
    assert (values["secret"], values["variable"]) == (secret[1], secret[1])
    assert values["user"].startswith("v-"), "the engine's own account"
    assert lab.hub.leases(f"database/creds/{role}") == [], "it was given back"

    def arrived() -> bool:
        prefect.write_all(printed)
        return bool(scan([printed / "logs.json"], {"control": control}))

    wait_for(arrived)
    sought = {"secret": values["secret"], "password": values["password"], "control": control}
    findings = scan([prefect.directory, printed], sought)
    assert {finding.name for finding in findings} == {"control"}
    text = (printed / "out.txt").read_text()
    for serializer in ("pickle", "json"):
        assert f"Failed to serialize object of type 'Sensitive' with serializer '{serializer}'" in text
