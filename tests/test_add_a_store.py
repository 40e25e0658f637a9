"""The guide to a new store can't rot: its example passes the contract, and is validated, planned and synced."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.examples.test_json_files import TestJsonFiles
from keyturn.core.sensitive import SecretFields
from tests.manual.lines import lines_of
from tests.support.lab import Lab, fresh
from tests.support.world import World

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "add-a-store.md"
REGISTRY = ROOT / "keyturn" / "catalogue" / "stores" / "registry.py"
FILES = [ROOT / "docs" / "examples" / name for name in ("json_files.py", "test_json_files.py")]

__all__ = ["TestJsonFiles"]
"""The contract, which pytest runs here."""

RUNS = """
import json, sys, types

from docs.examples import json_files

sys.modules["keyturn.providers.json_files.store"] = json_files
registry = types.ModuleType("keyturn.catalogue.stores.registry")
exec(compile(sys.stdin.read(), "registry.py", "exec"), registry.__dict__)
sys.modules["keyturn.catalogue.stores.registry"] = registry

from typer.testing import CliRunner

from keyturn.cli.app import app

results = [CliRunner().invoke(app, line.split()) for line in sys.argv[1:]]
print(json.dumps([(result.exit_code, result.stdout, result.stderr) for result in results]))
"""
"""Runs commands one after another with the registry that comes from standard input, in an interpreter of its own."""


def blocks(language: str) -> list[str]:
    """The guide's blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), flags=re.M | re.S)


def test_every_piece_of_code_in_the_guide_is_the_examples_own() -> None:
    files = "\n".join(file.read_text() for file in FILES)
    assert len(blocks("python")) > 5
    assert [block for block in blocks("python") if block.strip() not in files] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_guide_shows_the_whole_example(file: Path) -> None:
    shown = "\n".join(blocks("python"))
    assert [line for line in file.read_text().splitlines() if line not in shown] == []


def registry_with(diff: str) -> str:
    """The real registry with the line that the guide adds, after the one that it shows before."""
    lines = REGISTRY.read_text().splitlines()
    before, added = (line[1:] for line in diff.splitlines()[:2])
    lines.insert(lines.index(before) + 1, added)
    return "\n".join(lines)


def run(env: dict[str, str], *commands: str) -> list[tuple[int, str, str]]:
    """Exit code, output and messages of each command, run with the store registered as the guide says."""
    (diff,) = blocks("diff")
    assert [line[0] for line in diff.splitlines()].count("+") == 1
    child = [sys.executable, "-c", RUNS, *commands]
    done = subprocess.run(
        child, cwd=ROOT, env=env, input=registry_with(diff), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    results: list[tuple[int, str, str]] = [tuple(result) for result in json.loads(done.stdout)]
    return results


@pytest.fixture
def env(world: World, tmp_path: Path) -> dict[str, str]:
    """A hub, the catalogue in ``tmp_path``, and no stack."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("VAULT_", "PREFECT_"))}
    (tmp_path / "catalogue").mkdir()
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
        "KEYTURN_CATALOGUE": str(tmp_path / "catalogue"),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
    }


def declared(tmp_path: Path, folder: str, **store: Any) -> None:
    """The guide's catalogue, with these settings laid over those of its store, and a folder of this test's."""
    (example,) = blocks("yaml")
    directory = str(tmp_path / "documents")
    text = example.replace("/var/lib/appliance/secrets", str(store.pop("directory", directory)))
    (tmp_path / "catalogue" / "all.yaml").write_text(text.replace("apps/gateway/", f"{folder}/"))


def test_one_line_registers_it_for_validate_plan_and_sync(lab: Lab, env: dict[str, str], tmp_path: Path) -> None:
    folder = fresh()
    lab.hub.write(f"{folder}/database", SecretFields({"username": "app", "password": "s3cr3t-of-a-test"}), cas=0)
    (tmp_path / "documents").mkdir()
    declared(tmp_path, folder)
    typed = [f"{line.removeprefix('keyturn ')} --json" for line in lines_of("add-a-store.md")]
    validated, planned, synced, again = run(env, *typed, "plan --all --json")
    assert (validated[0], json.loads(validated[1])["problems"]) == (0, []), validated
    (item,) = json.loads(planned[1])["items"]
    assert (item["action"], item["store"], item["name"]) == (
        "create",
        "appliance",
        f"{folder.replace('/', '-')}-database",
    )
    assert synced[0] == 0, synced
    assert [copy["action"] for copy in json.loads(again[1])["items"]] == ["in sync"]
    document = json.loads((tmp_path / "documents" / f"{item['name']}.json").read_text())
    assert json.loads(document["value"]) == {"username": "app", "password": "s3cr3t-of-a-test"}


def test_the_guide_explains_every_verb_of_the_port_and_every_fact_of_the_settings() -> None:
    port = (ROOT / "keyturn" / "core" / "ports" / "stores.py").read_text()
    verbs = set(re.findall(r"def (\w+)\(", port[port.index("class Store(") : port.index("def describer(")]))
    settings = (ROOT / "keyturn" / "settings" / "stores.py").read_text()
    base = settings[settings.index("class StoreBase(") : settings.index("class Placed(")]
    facts = set(re.findall(r"^    ([A-Z]+): ClassVar", base, flags=re.M)) | set(re.findall(r"def (\w+)\(", base))
    assert len(verbs) > 10
    assert len(facts) > 8
    assert {name for name in verbs | facts if f"`{name}" not in GUIDE.read_text()} == set()


def test_a_merge_into_it_is_refused_before_anything_is_written(env: dict[str, str], tmp_path: Path) -> None:
    declared(tmp_path, "apps/gateway")
    file = tmp_path / "catalogue" / "all.yaml"
    file.write_text(
        file.read_text().replace("stores: [appliance]", "stores: [appliance]\n    fields: [username]\n    merge: true")
    )
    ((code, told, _),) = run(env, "catalogue validate")
    assert code == 1
    assert "the store appliance lays no single keys into a secret" in told
