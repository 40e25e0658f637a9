"""`keyturn trail` as its operator and an auditor use it."""

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyturn.access_log.trail.cursors import HubCursors
from keyturn.access_log.trail.trail import Trail
from keyturn.cli.app import app
from keyturn.core.ports.access_source import SourceRecord
from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.providers.ledger.address import open_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from tests.access_log.trail.events import access
from tests.access_log.trail.logs import TrailWorld, batch, line
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.manual.lines import lines_of
from tests.support.clock import Clock
from tests.support.lab import fresh
from tests.support.world import World

runner = CliRunner()
LINES = [line(number) for number in range(1, 301)]
ENDING = ("keyturn trail expire", "keyturn trail accept-loss")
"""What the guide says to type where something has to end, which needs a hub."""


def keyturn(*arguments: str, code: int = 0) -> Result:
    """Run one command in this process, which ends with ``code``."""
    result = runner.invoke(app, [*arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def trail(*arguments: str, code: int = 0) -> Result:
    return keyturn("trail", *arguments, code=code)


@pytest.fixture(scope="module")
def key() -> Key:
    """What signs the ledger's checkpoints."""
    return Key()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, key: Key) -> TrailWorld:
    """A trail of 300 lines, under a checkpoint."""
    made = TrailWorld.make(tmp_path_factory.mktemp("trail"))
    sign_checkpoint(made.ledger, key, Memory(), Clock(), verify_ed25519)
    return made


@pytest.fixture
def scene(whole: TrailWorld, tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrailWorld]:
    """A copy of it, the environment that leads there, and the files of an auditor."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "KEYTURN_"))]:
        monkeypatch.delenv(name)
    made = whole.copy_to(tmp_path)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("KEYTURN_LEDGER_NAME", ORIGIN.removeprefix("keyturn/"))
    monkeypatch.chdir(tmp_path)
    Path("ledger.key").write_text(str(key.public()))
    Path("audit.log").write_bytes(b"".join(text + b"\n" for text in LINES))
    yield made
    made.ledger.close()


def test_a_whole_trail_is_whole_beside_the_hubs_files_too(scene: TrailWorld) -> None:
    result = trail("verify", "--public-key-file", "ledger.key", "--against", "audit.log")
    assert "2 segments hold" in result.stdout
    assert "300 lines of the log are as they were read" in result.stderr
    scene.take(301, 310)
    result = trail("verify", "--public-key-file", "ledger.key")
    assert "the newest segments of hub came after the newest checkpoint" in result.stderr


def test_what_is_wrong_is_told_with_the_exit_code_and_to_scripts(scene: TrailWorld) -> None:
    Path("audit.log").write_bytes(b"".join(text + b"\n" for text in [*LINES[:99], b"edited", *LINES[100:]]))
    scene.files[1].path.unlink()
    arguments = ("verify", "--public-key-file", "ledger.key", "--against", "audit.log")
    result = trail(*arguments, code=1)
    assert "segment 1 of hub (entry 2) is missing, with 100 events" in result.stderr
    assert "problem: audit.log:100: this line is not what it was" in result.stderr
    told: Any = json.loads(trail(*arguments, "--json", code=1).stdout)
    assert told["whole"] is False
    assert told["problems"][0]["entry"] == 2
    assert told["against"]["problems"] == [{"position": "audit.log:100", "problem": "this line is not what it was"}]
    assert {name: told["sources"][0][name] for name in ("source", "segments", "events", "verified", "vouched")} == {
        "source": "hub", "segments": 2, "events": 200, "verified": 1, "vouched": True,
    }  # fmt: skip


def test_a_ledger_that_is_not_whole_vouches_for_nothing(scene: TrailWorld, key: Key) -> None:
    result = trail("verify", "--public-key", str(Key().public()), code=1)
    assert "was not made by this ledger's key" in result.stderr


def test_events_are_shown_with_the_names_by_which_they_are_proven(scene: TrailWorld) -> None:
    told: Any = json.loads(trail("events", "--path", "ml/1", "--last", "2", "--json").stdout)
    assert [(event["name"], event["position"]) for event in told["events"]] == [
        ("hub:1:90", "audit.log:286"), ("hub:1:97", "audit.log:296"),
    ]  # fmt: skip
    assert "hub:0:0 " in trail("events", "--to", "2026-11-01T12:00:01Z").stdout
    assert "no such event is sealed" in trail("events", "--principal", "nobody").stderr


def test_an_event_is_proven_to_somebody_who_has_nothing_but_the_key(scene: TrailWorld) -> None:
    trail("prove", "hub:1:17", "--out", "event.json")
    assert Path("event.json").stat().st_mode & 0o777 == 0o600
    shutil.rmtree(scene.directory)
    Path("ledger.db").unlink()
    result = trail("check", "event.json", "--public-key-file", "ledger.key")
    assert "audit.log:176" in result.stdout
    assert "proved: it is event 17 of segment 1 of hub (entry 2) of keyturn/tests" in result.stderr
    assert (
        keyturn("ledger", "prove", "--check", "event.json", "--public-key-file", "ledger.key").stdout == result.stdout
    )
    told: Any = json.loads(trail("check", "event.json", "--public-key-file", "ledger.key", "--json").stdout)
    assert (told["name"], told["position"], told["segment"]["entry"]) == ("hub:1:17", "audit.log:176", 2)


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        ("approle trainer", "approle tuner", "the event is not among those of segment 1 of hub"),
        ('"name": "hub:1:17"', '"name": "hub:1:18"', "the event is not among those of segment 1 of hub"),
        ('"name": "hub:1:17"', '"name": "hub:0:17"', "the event is named hub:0:17"),
        ('"sequence": 2', '"sequence": 1', "the entry is not among those of the checkpoint"),
        ('\\\\\\"lines\\\\\\":150', '\\\\\\"lines\\\\\\":151', "the entry is not among those of the checkpoint"),
        ("keyturn/tests\\n", "keyturn/other\\n", "no key"),
        ('"hashes"', '"hashed"', "it does not state name, event, hashes, segment"),
    ],
    ids=["event", "place", "segment", "entry", "note", "checkpoint", "no-proof"],
)
@pytest.mark.attack
def test_a_proof_that_was_changed_proves_nothing(scene: TrailWorld, was: str, becomes: str, problem: str) -> None:
    proof = trail("prove", "hub:1:17").stdout
    assert was in proof
    Path("event.json").write_text(proof.replace(was, becomes))
    result = trail("check", "event.json", "--public-key-file", "ledger.key", code=1)
    assert problem in result.stderr


def test_of_what_is_not_there_no_proof_is_made(scene: TrailWorld) -> None:
    for event, problem in (
        ("hub:1:100", "its segment has no such event"),
        ("hub:2:0", "the ledger records no such segment"),
        ("17", "it is no event's name"),
    ):
        assert problem in trail("prove", event, code=1).stderr
    scene.take(301, 310)
    assert "no checkpoint is made over it" in trail("prove", "hub:2:0", code=1).stderr
    scene.rewrite(scene.files[1], "SELECT * REPLACE ('x' AS principal) FROM old")
    assert "are not those that were sealed" in trail("prove", "hub:1:17", code=1).stderr


def test_with_a_hub_its_cursors_are_looked_at_and_what_is_too_old_goes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_"))]:
        monkeypatch.delenv(name)
    name, source = fresh(), fresh()
    given = {
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "KEYTURN_LEDGER": str(tmp_path / "ledger.db"),
        "KEYTURN_LEDGER_NAME": name,
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
    }
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    hub = VaultHub(HubSettings.from_environment())
    ledger = open_ledger(given["KEYTURN_LEDGER"], origin=f"keyturn/{name}")
    now = datetime.now(UTC)
    opened = Trail(tmp_path / "trail", ledger, HubCursors(hub), lambda: hub.identity().words, lambda: now)
    old = SourceRecord(access(datetime(2020, 1, 1, tzinfo=UTC)), b"x" * 32, "audit.log:1")
    opened.append(source, None, replace(batch(1, 50), records=[old]))
    opened.seal(source)
    opened.append(source, "51", batch(51, 100))
    opened.seal(source)
    keyturn("ledger", "checkpoint")
    assert "2 segments hold" in trail("verify").stdout
    cursors = HubCursors(hub)
    cursors.write(source, replace(cursors.read(source), cursor="7"))
    assert f"the cursor of {source} in the hub is not where segment 1" in trail("verify", code=1).stderr
    assert opened.cursor(source) == "101"
    expire, accept = (line.removeprefix("keyturn ") for line in lines_of("access-monitoring-reference.md", *ENDING))
    assert f"deleted: segments 0 to 0 of {source}" in keyturn(*expire.split()).stderr
    assert "deleted because of their age on" in " ".join(trail("verify").stdout.split())
    assert "nothing is missing" in keyturn(*shlex.split(accept)).stderr
    shutil.rmtree(tmp_path / "trail" / "segments")
    assert f"lost: segments 1 to 1 of {source}" in keyturn(*shlex.split(accept)).stderr
    assert "(the disk of host-3 failed, backup of 2026-11-27)" in " ".join(trail("verify").stdout.split())
    ledger.close()
    hub.close()


def test_each_command_of_the_guide_runs(scene: TrailWorld) -> None:
    keyturn("ledger", "export", "--out", "ledger.jsonl", "--checkpoints", "checkpoints.jsonl")
    shutil.copytree("trail", "copy")
    for text in (each for each in lines_of("access-monitoring-reference.md") if not each.startswith(ENDING)):
        _, *arguments = shlex.split(text)
        own = ["--public-key-file", "ledger.key"] if arguments[1] == "verify" else []
        keyturn(*[word.replace("/var/log/openbao/", "") for word in arguments], *own)
