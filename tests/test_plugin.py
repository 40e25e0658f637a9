"""A store that another distribution brings is used as one of Keyturn's own, from the schema to the doctor."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from keyturn.core.sensitive import SecretFields
from tests.support.lab import Lab, fresh

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's wheel, unpacked where a process finds it."""
    place = tmp_path_factory.mktemp("plugin")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)]
    subprocess.run(command, cwd=PLUGIN, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(place / "site")
    return place / "site"


def test_a_store_of_another_distribution_is_used_from_the_schema_to_the_doctor(
    lab: Lab, installed: Path, tmp_path: Path
) -> None:
    path, copies = f"{fresh()}/key", tmp_path / "copies"
    copies.mkdir()
    (tmp_path / "catalogue").mkdir()
    entry = {
        "owner": "a@example.com",
        "classification": "internal",
        "rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"},
        "destinations": [{"store": "appliance", "name": "key", "field": "value"}],
    }
    stores = {"appliance": {"kind": "json-files", "directory": str(copies)}}
    (tmp_path / "catalogue" / "all.yaml").write_text(json.dumps({"stores": stores, "secrets": {path: entry}}))
    lab.hub.write(path, SecretFields({"value": "first"}), cas=0)
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("VAULT_", "PREFECT_"))}
    env = {
        **kept,
        "VAULT_ADDR": lab.world.hub_address,
        "VAULT_TOKEN": lab.world.hub_token,
        "KEYTURN_CATALOGUE": str(tmp_path / "catalogue"),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
    }

    def run(*words: str, plugin: bool = True) -> subprocess.CompletedProcess[str]:
        paths = [str(ROOT), *([str(installed)] if plugin else [])]
        command = [sys.executable, "-m", "keyturn.cli", *words]
        variables = {**env, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)

    refused = run("catalogue", "validate", plugin=False)
    assert refused.returncode == 1
    assert "stores.appliance.kind: must be one of" in refused.stdout
    assert '"json-files"' in run("catalogue", "schema").stdout
    assert run("catalogue", "validate").returncode == 0
    (item,) = json.loads(run("plan", "--json").stdout)["items"]
    assert (item["action"], item["name"]) == ("create", "key")
    synced = run("sync", "--local")
    assert synced.returncode == 0, synced.stderr
    assert json.loads((copies / "key.json").read_text())["value"] == "first"
    rotated = run("rotate", path, "--now", "--local")
    assert rotated.returncode == 0, rotated.stderr
    current = lab.hub.read(path)
    assert current is not None
    assert json.loads((copies / "key.json").read_text())["value"] == current.fields["value"].reveal()
    assert "appliance" in run("doctor", "--all").stdout
