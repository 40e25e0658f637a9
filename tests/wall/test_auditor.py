"""An auditor's login sees every state, and no value, candidate or key."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from typer.testing import CliRunner, Result

from keyturn.catalogue import load_catalogue
from keyturn.cli.app import app
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rights.roles import LOGINS
from keyturn.rotation import steps
from keyturn.rotation.candidates import CANDIDATES, ROTATIONS
from keyturn.rotation.decide import decide
from keyturn.rotation.state.grant_store import DELIVERIES
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from tests.hub_setup.site import Empty, as_environment, empty_hub
from tests.support.hooks import dead_holder
from tests.support.lab import fresh

CLOSED, OPEN, LEAKED = "app/closed", "app/open", "app/leaked"
SECRET: Final = {"owner": "a@example.com", "classification": "internal"}
ROTATION: Final = {"strategy": "generated", "interval": "30d", "grace": "1h"}
CATALOGUE: Final = {
    "hub": {"audit": {"kind": "approle", "login": "auditor", "addresses": ["127.0.0.0/8"]}},
    "secrets": {path: {**SECRET, "rotation": ROTATION} for path in (CLOSED, OPEN, LEAKED)},
}
COMMANDS: Final = {
    "status": ["status"],
    "due": ["due"],
    "plan": ["plan"],
    "history": ["history", OPEN],
    "incidents": ["incidents"],
    "one incident": ["incidents", "INC-1"],
    "dashboard": ["dashboard", "--output", "{directory}/page.html"],
    "ledger verify": ["ledger", "verify"],
    "report": ["report", "--framework", "soc2", "--from", "2026-01-01", "--to", "2099-01-01", "--out", "{directory}"],
}
ALLOW: Final = 'path "{}" {{ capabilities = ["{}"] }}'
HELD_BACK: Final = {"targets/pg": "an-admin-password", f"{DELIVERIES}/ana/1": "a-wrapping-token"}
"""What people and the granter put in Keyturn's own mount, and what is in it."""


@dataclass(frozen=True)
class Audited:
    """A hub that `setup hub --apply` has set up and a worker has worked in: a rotation is open, and an incident was."""

    empty: Empty
    directory: Path
    patch: pytest.MonkeyPatch

    def become(self, *policies: str) -> None:
        """Let the commands that follow have these policies and no others."""
        self.patch.setenv("VAULT_TOKEN", self.empty.token(*policies))

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, [word.format(directory=self.directory) for word in words])

    def must(self, *words: str) -> Result:
        """The same, which succeeds."""
        done = self.run(*words)
        assert done.exit_code == 0, done.output
        return done

    def ask(self, token: str, method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        """The hub's answer to a request with that token."""
        return requests.request(
            method,
            f"{self.empty.server.address}/v1/{path}",
            headers={"X-Vault-Token": token, "X-Vault-Namespace": self.empty.namespace},
            json=body,
            verify=self.empty.server.ca_file or True,
            timeout=20,
        )

    def paths(self, mount: str, below: str = "") -> Iterator[str]:
        """Every entry of a mount, as its administrator sees it."""
        listed = self.empty.root.list(f"{mount}/metadata/{below}")
        for name in listed["data"]["keys"] if listed else ():
            yield from self.paths(mount, below + name) if name.endswith("/") else [below + name]

    def values(self) -> set[str]:
        """Every text in what may not be shown: secrets, candidates, keys of fingerprints, and what people put there."""
        hidden = ("fingerprint-key", CANDIDATES, DELIVERIES, "targets")
        places = [f"secret/data/{path}" for path in self.paths("secret")]
        places += [f"keyturn/data/{path}" for path in self.paths("keyturn") if path.startswith(hidden)]
        texts = (str(text) for place in places for text in self.empty.read(place)["data"].values())
        return {text for text in texts if len(text) > 12 and not re.match(r"20\d\d-\d\d-", text)}


@pytest.fixture(scope="module")
def audited(openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    directory = tmp_path_factory.mktemp("audited")
    (directory / "catalogue").mkdir()
    (directory / "catalogue" / "all.yaml").write_text(json.dumps(CATALOGUE))
    with empty_hub(openbao, directory) as empty, pytest.MonkeyPatch.context() as patch:
        as_environment(empty, directory, patch)
        made = Audited(empty, directory, patch)
        made.must("setup", "hub", "--apply", "--yes")
        made.become("keyturn-worker", "keyturn-revoker")
        for path in (CLOSED, OPEN, LEAKED):
            empty.hub.write(path, SecretFields({"value": fresh() * 3}), cas=0)
        made.must("rotate", CLOSED, "--now", "--local")
        made.must("revoke", LEAKED, "--reason", "leaked", "--incident", "INC-1", "--yes", "--local")
        stage_and_die(made)
        patch.setenv("VAULT_TOKEN", empty.server.root_token)
        for place, text in HELD_BACK.items():
            empty.hub.write_state(place, {"value": f"{text}-{fresh()}"}, cas=0)
        made.must("ledger", "checkpoint")
        made.become("keyturn-auditor")
        yield made


def stage_and_die(made: Audited) -> None:
    """Leave a rotation of OPEN whose candidate waits in the hub."""
    opened = open_workspace(load_catalogue(made.directory / "catalogue", {}), made.empty.hub)
    workspace = replace(opened, holder=dead_holder())
    steps.stage(workspace, OPEN, decide(workspace, OPEN, Trigger.FORCE))


# --- what it can do


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_looks_works_with_an_auditors_login(audited: Audited, name: str) -> None:
    done = audited.run(*COMMANDS[name])
    # No worker runs here, which status says is unknown.
    assert done.exit_code == (5 if name == "status" else 0), done.output
    assert "denies" not in done.output
    assert "can't be read" not in done.output
    assert not [value for value in audited.values() if value in done.output]


@pytest.mark.parametrize("login", LOGINS)
def test_each_login_has_exactly_the_rights_it_needs(audited: Audited, login: str) -> None:
    # As the hub's policy `default` does, where there is one.
    asking = f"{ALLOW.format('sys/capabilities-self', 'update')} {ALLOW.format('auth/token/lookup-self', 'read')}"
    audited.empty.root.sys.create_or_update_policy("asking", asking)
    audited.become(*LOGINS[login], "asking")
    try:
        told = json.loads(audited.must("policy", "check", "--as", login, "--json").stdout)
    finally:
        audited.become("keyturn-auditor")
    assert (told["lacking"], told["beyond"]) == ([], [])


@pytest.mark.parametrize("login", ["planner", "viewer", "monitor"])
@pytest.mark.parametrize("name", ["status", "due", "plan", "history", "incidents"])
def test_an_error_names_the_auditors_login_to_other_logins_that_look(audited: Audited, login: str, name: str) -> None:
    audited.become(f"keyturn-{login}")
    try:
        done = audited.run(*COMMANDS[name])
    finally:
        audited.become("keyturn-auditor")
    assert done.exit_code == 1
    assert "Use one with the policy keyturn-auditor" in " ".join(done.stderr.split())


# --- what it cannot


def test_a_saved_plan_needs_a_key_that_no_auditor_reads(audited: Audited) -> None:
    refused = audited.run("plan", "--out", "{directory}/kept.plan")
    assert refused.exit_code == 1
    assert "this login may not read the key that signs a plan's file" in " ".join(refused.stderr.split())
    assert not (audited.directory / "kept.plan").exists()


def test_no_path_of_the_hub_gives_an_auditor_a_value(audited: Audited) -> None:
    token, values = audited.empty.token("keyturn-auditor", "default"), audited.values()
    assert len(values) > 6
    state = [*audited.paths("keyturn")]
    asked = [f"secret/{kind}/{path}" for path in audited.paths("secret") for kind in ("data", "metadata", "subkeys")]
    asked += [f"keyturn/{kind}/{path}" for path in state for kind in ("data", "metadata", "subkeys")]
    asked += [f"{kind}/{path}?version=1" for kind in ("keyturn/data", "secret/data") for path in state]
    asked += ["sys/raw/logical", "transit/export/signing-key/keyturn-ledger", "transit/backup/keyturn-ledger"]
    assert {path.partition("/")[0] for path in state} >= {ROTATIONS, CANDIDATES, "incidents", "fingerprint-key"}
    answers = {path: audited.ask(token, "GET", path) for path in asked}
    readable = [path for path, answer in answers.items() if answer.ok and "/data/" in path]
    assert f"keyturn/data/{ROTATIONS}/{OPEN}" in readable
    shown = [path for path, answer in answers.items() if any(value in answer.text for value in values)]
    assert shown == []
    hidden = (CANDIDATES, DELIVERIES, "targets", "fingerprint-key")
    beyond = ("secret/", *(f"keyturn/data/{place}" for place in hidden))
    assert [path for path in readable if path.startswith(beyond)] == []


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_auditor_changes_nothing(audited: Audited, method: str) -> None:
    token = audited.empty.token("keyturn-auditor", "default")
    asked = [f"keyturn/{kind}/{path}" for path in audited.paths("keyturn") for kind in ("data", "metadata", "destroy")]
    asked += [f"secret/{kind}/{path}" for path in audited.paths("secret") for kind in ("data", "metadata", "undelete")]
    asked += ["transit/sign/keyturn-ledger", "sys/policies/acl/keyturn-auditor", "auth/token/create-orphan"]
    answers = {path: audited.ask(token, method, path, {"data": {"a": "b"}}).status_code for path in asked}
    assert set(answers.values()) == {403}, answers


# --- an older release's records


def test_hub_apply_moves_values_out_of_records_before_an_auditor_may_read_them(audited: Audited) -> None:
    hub, place = audited.empty.hub, f"{ROTATIONS}/{OPEN}"
    state = hub.read_state(place)
    assert state
    audited.empty.root.delete("sys/policies/acl/keyturn-auditor")
    inline = {**state.data, "format": 1, "candidate": {"value": "in-clear-since-release-1"}}
    hub.write_state(place, inline, cas=state.version)
    hub.write_state(f"{ROTATIONS}/app/odd", {"rotation": {"stage": "?"}, "candidate": {"value": "in-clear"}}, cas=0)
    audited.patch.setenv("VAULT_TOKEN", audited.empty.server.root_token)
    refused = audited.run("setup", "hub", "--apply", "--yes")
    assert refused.exit_code == 1
    assert "the rotation record of app/odd may hold a value" in " ".join(refused.stderr.split())
    assert audited.empty.root.read("sys/policies/acl/keyturn-auditor") is None
    hub.delete_state(f"{ROTATIONS}/app/odd")
    audited.must("setup", "hub", "--apply", "--yes")
    audited.become("keyturn-auditor")
    told = audited.ask(audited.empty.token("keyturn-auditor"), "GET", f"keyturn/data/{place}")
    assert told.ok
    assert "in-clear-since-release-1" not in told.text
    assert "in-clear-since-release-1" in audited.values()
