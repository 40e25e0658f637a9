"""``keyturn slo``: objectives of revocations, their measurements, and what a check ends with."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.revocation.objectives.record import REHEARSALS
from tests.support.lab import Declared, Lab, catalogue_data
from tests.support.world import REGION, World

runner = CliRunner()


@pytest.fixture
def catalogue(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("VAULT_ADDR", world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", world.hub_token)
    directory = tmp_path / "catalogue"
    directory.mkdir()
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(directory))
    return directory


def write(directory: Path, world: World, *declared: Declared, **consumers: Any) -> None:
    data = catalogue_data(world, declared, {"kind": "aws-secrets-manager", "region": REGION}, consumers)
    for entry in data["secrets"].values():
        del entry["path"]
    (directory / "all.yaml").write_text(yaml.safe_dump(data))


def slo(*arguments: str, code: int = 0) -> Result:
    result = runner.invoke(app, ("slo", *arguments))
    assert result.exit_code == code, result.output
    return result


def shown(*arguments: str, code: int = 0) -> dict[str, Any]:
    told = json.loads(slo(*arguments, "--json", code=code).stdout)["secrets"]
    return {one["path"]: one for one in told}


def test_an_objective_is_overdue_until_it_is_rehearsed_and_then_met(lab: Lab, world: World, catalogue: Path) -> None:
    first, plain = lab.alternating(dead_within="60s"), lab.generated()
    write(catalogue, world, first, plain)
    before = shown("--check", code=1)
    assert (before[first.path]["state"], before[first.path]["why"]) == ("overdue", "never tested")
    assert (before[plain.path]["state"], before[plain.path]["by_hand"]) == (
        "no objective",
        "no target that could refuse it",
    )
    assert "error: check" in slo("--check", code=1).stderr
    assert f"{first.path}: refused after " in slo(first.path, "--rehearse").stderr
    after = shown(first.path, "--check")[first.path]
    assert (after["state"], after["last"]["by"], after["measured"]) == ("met", "rehearsal", 1)
    assert after["p50_seconds"] == after["p95_seconds"] == after["last"]["refused"]
    assert " met" in slo(first.path).stdout


def test_what_cannot_be_read_is_unknown_and_what_cannot_be_rehearsed_says_why(
    lab: Lab, world: World, catalogue: Path
) -> None:
    broken, single = lab.alternating(dead_within="60s"), lab.single(dead_within="60s")
    write(catalogue, world, broken, single)
    lab.keep(f"{REHEARSALS}/{broken.path}", {"rehearsals": "[]"})
    told = shown("--check", code=5)
    assert told[broken.path]["state"] == "unknown"
    assert told[single.path]["why"] == "cannot be rehearsed: it is changed in place (strategy single-user)"
    assert "it cannot be rehearsed: it is changed in place" in slo(single.path, "--rehearse", code=1).stderr
    assert "--rehearse is for one PATH" in slo("--rehearse", code=2).stderr


def test_consumers_that_cannot_acknowledge_are_named(lab: Lab, world: World, catalogue: Path) -> None:
    declared = lab.alternating(dead_within="60s", consumers=["queue", "app"], grace="1h")
    queue = {"kind": "aws-sqs", "queue_arn": "arn:aws:sqs:eu-central-1:111122223333:nightly-training"}
    app = {"url": "https://app.example.com", "signing_key": "webhooks/app"}
    write(catalogue, world, declared, queue={**queue, "signing_key": "webhooks/queue"}, app=app)
    assert shown(declared.path)[declared.path]["silent_consumers"] == ["queue"]
