"""The backup commands: create, list, verify, restore, drill and prune."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hvac
import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.recovery.chains import list_chains
from tests.cli.command import SCRIPT
from tests.manual.lines import lines_of
from tests.recovery.conftest import Servers, Setting, make_recovery_key
from tests.support.hooks import eventually

ROOT = Path(__file__).parents[2]

Run = Callable[..., Result]


@pytest.fixture
def policy(setting: Setting, servers: Servers, tmp_path: Path) -> Path:
    """The operator's file, as the guide has it, with a directory."""
    (tmp_path / "scratch.token").write_text(servers.other.root_token)
    (tmp_path / "scratch.token").chmod(0o600)
    backups = {
        "place": {"kind": "directory", "directory": str(tmp_path / "backups")},
        "keys": [f"x25519:{tmp_path / 'recovery.pem'}"],
        "restore_drill": {"hub": servers.other.address, "token_file": str(tmp_path / "scratch.token")},
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"backups": backups}))
    return tmp_path / "policy.yaml"


@pytest.fixture
def run(setting: Setting, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """One command on the hub that is backed up, or on another."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "catalogue").mkdir()
    secret = {"owner": "a@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump({"secrets": {"ml/database": secret}}))
    monkeypatch.setenv("KEYTURN_POLICY", str(policy))
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("COLUMNS", "200")

    def use(hub: VaultHub, token: str) -> None:
        monkeypatch.setenv("VAULT_ADDR", hub.settings.address)
        monkeypatch.setenv("VAULT_TOKEN", os.environ[token])
        monkeypatch.setenv("KEYTURN_HUB_MOUNT", hub.settings.mount)
        monkeypatch.setenv("KEYTURN_HUB_STATE_MOUNT", hub.settings.state_mount)
        monkeypatch.setenv("KEYTURN_HUB_TRANSIT_MOUNT", hub.settings.transit_mount)

    def invoke(*arguments: str, restored: bool = False) -> Result:
        use(*((setting.restored, "KEYTURN_TEST_OTHER") if restored else (setting.hub, "KEYTURN_TEST_LIVE")))
        return CliRunner().invoke(app, arguments)

    return invoke


def data(done: Result) -> dict[str, Any]:
    assert done.exit_code in (0, 1, 5), done.output  # no Prefect says here that a worker is alive
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_night_from_backup_to_a_hub_that_works(setting: Setting, run: Run, tmp_path: Path) -> None:
    setting.write("ml/database", "first", "second")
    made = data(run("backup", "run", "--json"))
    assert made["counts"]["secrets"] == 1
    assert made["ledger"]["size"] >= 1, "that it began is in the ledger before"
    (chain,) = data(run("backup", "list", "--json"))["chains"]
    assert (chain["chain"], chain["backups"], chain["locked_until"]) == (made["chain"], 1, None)
    assert data(run("backup", "verify", "--json"))["chains"][0]["error"] == ""
    checks = json.loads(run("doctor", "--as", "backup", "--json").stdout)["checks"]
    assert [c["grade"] for c in checks if c["name"] == "verify backups"] == ["advice"], "nothing tells of it"
    assert run("backup", "verify", "--record").exit_code == 0
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    (verified,) = [c for c in checks if c["name"] == "verify backups"]
    assert (verified["grade"], "whole: 1 chains, 1 backups" in verified["words"]) == ("ok", True)
    drill = data(run("backup", "drill", "--json"))
    assert (drill["proven"], drill["differing"], drill["entries"] > 1) == (True, [], True)
    plan = run("backup", "restore", restored=True)
    assert plan.exit_code == 0, plan.output
    assert f"make the mount {setting.hub.settings.mount}" in plan.stderr
    assert "nothing was written: give --apply" in plan.stderr
    assert run("backup", "restore", "--apply", restored=True).exit_code == 2, "there is no terminal to ask on"
    done = run("backup", "restore", "--apply", "--yes", "--files", str(tmp_path / "restored"), restored=True)
    assert done.exit_code == 0, done.output
    there = setting.restored.read("ml/database")
    assert there is not None
    assert (there.version, there.fields["password"].reveal()) == (2, "second")
    assert (tmp_path / "restored" / "catalogue" / "all.yaml").read_bytes() == (
        tmp_path / "catalogue" / "all.yaml"
    ).read_bytes()
    verified = run("ledger", "verify", "--file", str(tmp_path / "restored" / "ledger.jsonl"))
    assert "Traceback" not in verified.output
    name, point = f"{made['chain']}/0", made["point"][:16].replace("T", " ")
    for command in (("status",), ("repair", "recover", "--dry-run"), ("doctor",)):
        looked = run(*command, restored=True)
        words = " ".join(looked.output.split())
        assert looked.exit_code == (0 if command[0] == "repair" else 1), words
        assert f"from backup {name}, and what was done after {point} UTC is not in it" in words, command
        assert ("Run `keyturn repair recover` before anything else" in words) is (command[0] != "repair"), command
    done = run("repair", "recover", "--yes", restored=True)
    assert done.exit_code == 0, done.output
    assert "they have no copy: ml/database. Nothing of them is pushed" in " ".join(done.stderr.split())
    assert f"nothing is left to be recovered of what the hub has lost since backup {name}" in done.stderr
    assert "THE HUB WAS RESTORED" not in run("status", restored=True).output
    assert "`keyturn repair recover` went through at" in " ".join(run("doctor", "--all", restored=True).output.split())
    told = data(run("status", "--json", restored=True))["restored"]
    assert (told["chain"], told["to_do"], told["error"]) == (made["chain"], "", "")
    assert data(run("status", "--json"))["restored"] is None, "the hub that was backed up has no mark"
    assert run("repair", "recover", "--snapshot-of", "2h", "--dry-run", restored=True).exit_code == 2, (
        "it would mark the hub"
    )
    done = run("repair", "recover", "--snapshot-of", "2h", "--yes", "--json", restored=True)
    assert (done.exit_code, data(done)["secrets"][0]["code"]) == (0, "KT210"), done.output
    assert "from its own snapshot, and what was done after" in " ".join(done.stderr.split())
    assert data(run("status", "--json", restored=True))["restored"]["chain"] == "snapshot"
    setting.restored.write("ml/database", SecretFields({"password": "third"}), cas=2)
    plan = run("backup", "restore", restored=True)
    assert "into an empty hub; or give --apply --skip-newer" in plan.stderr, "--apply alone is refused"
    assert "nothing was written: give --apply" in run("backup", "restore", "--skip-newer", restored=True).stderr


def test_a_mark_that_nobody_can_read_is_told_as_unseen_and_one_that_can_t_be_written_ends_recover(
    setting: Setting, run: Run, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.write("ml/database", "first")
    made = data(run("backup", "run", "--json"))
    assert run("backup", "restore", "--apply", "--yes", restored=True).exit_code == 0
    root = hvac.Client(url=servers.other.address, token=servers.other.root_token)
    state = setting.restored.settings.state_mount
    rules = f'path "{state.partition("/")[0]}/*" {{ capabilities = ["create", "read", "update", "patch", "list"] }}\n'
    for capability, name in (('"deny"', "blind"), ('"read"', "reader")):
        own = f'path "{state}/data/restored" {{ capabilities = [{capability}] }}\n'
        root.sys.create_or_update_policy(name, rules + own)
        token = root.auth.token.create(policies=[name], ttl="10m")["auth"]["client_token"]
        monkeypatch.setenv("KEYTURN_TEST_OTHER", token)
        if name == "blind":
            for command in (("status",), ("repair", "recover", "--dry-run")):
                words = " ".join(run(*command, restored=True).stderr.split())
                assert "could not look whether the hub was restored from a backup" in words, command
            checks = json.loads(run("doctor", "--json", restored=True).stdout)["checks"]
            assert [check["grade"] for check in checks if check["name"] == "restored"] == ["unknown"]
        else:
            refused = run("repair", "recover", "--yes", restored=True)
            assert refused.exit_code == 1
            assert f"{state}/restored" in refused.stderr, "what the login may not write is named"
    monkeypatch.setenv("KEYTURN_TEST_OTHER", servers.other.root_token)
    assert made["chain"] in run("status", restored=True).stderr, "it is to be done still"


@pytest.mark.attack
def test_errors_are_one_line_with_a_remedy(setting: Setting, run: Run, policy: Path, tmp_path: Path) -> None:
    empty = run("backup", "restore", restored=True)
    assert empty.exit_code == 1
    assert "keyturn backup run" in empty.stderr
    setting.write("ml/database", "first")
    run("backup", "run")
    wrong = run("backup", "restore", "--key", f"x25519:{make_recovery_key(tmp_path / 'other.pem')}", restored=True)
    assert wrong.exit_code == 1
    assert "another recovery key" in wrong.stderr
    (older,) = list_chains(setting.place)
    # The names of two tell which is newer to the second.
    assert eventually(lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}" > older.name)
    run("backup", "run")
    (chain,) = (stored for stored in list_chains(setting.place) if stored.name != older.name)
    (tmp_path / "backups" / chain.objects[0].name).write_bytes(b"changed")
    for named in ((), (chain.name,)):
        damaged = run("backup", "restore", *named, restored=True)
        assert damaged.exit_code == 1
        assert "changed, truncated or replaced" in damaged.stderr
        assert f"keyturn backup restore {older.name}/0" in damaged.stderr
    assert run("backup", "restore", f"{older.name}/0", restored=True).exit_code == 0
    (tmp_path / "backups" / older.manifests[0].name).rename(tmp_path / "kept")
    assert "No other backup in" in run("backup", "restore", restored=True).stderr
    (tmp_path / "kept").rename(tmp_path / "backups" / older.manifests[0].name)
    verified = run("backup", "verify")
    assert verified.exit_code == 1
    assert "changed, truncated or replaced" in verified.stderr
    assert run("backup", "verify", "--record").exit_code == 1
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    (told,) = [c for c in checks if c["name"] == "verify backups"]
    assert told["grade"] == "failed"
    assert "NOT whole: " + chain.name in told["words"]
    declared = yaml.safe_load(policy.read_text())
    policy.write_text(yaml.safe_dump({"backups": {**declared["backups"], "keys": ["transit:keyturn"]}}))
    lost = run("backup", "run")
    assert lost.exit_code == 1
    assert "is in the hub that is backed up" in lost.stderr
    policy.write_text("limits: {}\n")
    assert "declares none" in run("backup", "list").stderr
    for done in (empty, wrong, verified, lost):
        assert "Traceback" not in done.output


def test_the_guides_commands_run_in_their_order(
    setting: Setting, servers: Servers, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is gone; then what was to be made beforehand, and the drill."""
    typed = lines_of("disaster-recovery.md", "keyturn backup", "keyturn serve")
    lines = [line.removeprefix("keyturn ") for line in typed]
    assert [line.split()[:2] for line in lines].count(["backup", "restore"]) == 2
    monkeypatch.chdir(tmp_path)
    setting.write("ml/database", "first")
    assert run("backup", "run").exit_code == 0
    for line in lines:
        words = line.replace("/media/usb", str(tmp_path)).split()
        if words[0] == "serve":
            run("backup", "list")  # which leads this process to the hub at work
            assert_runs(words)
            continue
        if words[:2] == ["backup", "drill"]:  # the scratch hub has nothing of what was restored
            scratch = hvac.Client(url=servers.other.address, token=servers.other.root_token)
            for mount in (setting.restored.settings.mount, setting.restored.settings.state_mount):
                scratch.sys.disable_secrets_engine(mount)
        done = run(*words, restored=words[:2] == ["backup", "restore"])
        assert done.exit_code == 0, (line, done.output)
    assert list((tmp_path / "restored").rglob("ledger.jsonl"))


def assert_runs(words: list[str]) -> None:
    """The command runs until it is told to end."""
    process = subprocess.Popen([*SCRIPT, *words, "--listen=127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    shown = next((line for line in process.stderr if line.startswith("backup: runs here")), "")
    process.terminate()
    left = process.communicate(timeout=60)[1]
    assert (shown, process.returncode) == ("backup: runs here\n", 0), left
