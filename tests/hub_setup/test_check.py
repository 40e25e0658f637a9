"""A worker checks the hub's setup daily, with its own rights, and reports drift."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from keyturn.catalogue import load_catalogue
from keyturn.cli.app import app
from keyturn.cli.environment import opened_workspace
from keyturn.core.errors import Denied, Invalid
from keyturn.ledger.entries import parse_leaf
from keyturn.rights.hub_check import CHECK, LAST, HubCheck, check_hub, insist_on_declared, last_check
from keyturn.rights.hub_wanted import HubDeclaration, resources
from keyturn.rotation.state.context import Workspace
from tests.hub_setup.site import Empty, applied, as_environment, generated_key

pytestmark = pytest.mark.sampled(4, of="file")

CATALOGUE: dict[str, Any] = {
    "hub": {
        "keyturn-worker": {"kind": "approle", "login": "worker", "addresses": ["127.0.0.0/8"]},
        "logins": {"kind": "engine", "type": "ssh"},
        "staff": {"kind": "jwt", "public_keys": [generated_key()]},
        "oncall": {"kind": "group", "method": "staff", "logins": ["requester"]},
    },
    "secrets": {
        "app/a": {
            "owner": "a@example.com",
            "classification": "internal",
            "rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"},
        }
    },
}


class Declared:
    """A hub that is as its catalogue says, and how a worker looks at it."""

    def __init__(self, empty: Empty, catalogue: Path) -> None:
        self.empty, self.catalogue = empty, catalogue
        declared = load_catalogue(catalogue, {})
        self.wanted = resources(HubDeclaration.by(declared, empty.hub.settings))
        applied(empty.port, self.wanted)

    def become(self, monkeypatch: pytest.MonkeyPatch, *policies: str) -> None:
        """Let what follows log in with these policies and no others."""
        monkeypatch.setenv("VAULT_TOKEN", self.empty.token(*policies))

    @contextmanager
    def opened(self) -> Iterator[Workspace]:
        """The workspace, with the login of the environment."""
        with opened_workspace(self.catalogue) as workspace:
            yield workspace

    def check(self) -> HubCheck:
        """Look once."""
        with self.opened() as workspace:
            return check_hub(workspace, self.wanted)

    def status(self) -> dict[str, Any]:
        """What `keyturn status` tells of it."""
        told = CliRunner().invoke(app, ["status", "--json"])
        return dict(json.loads(told.stdout)["hub_setup"])


def may_look(workspace: Workspace, address: str) -> bool:
    """Whether the login may look there."""
    try:
        workspace.hub.setup().look(address)
    except Denied:
        return False
    return True


@pytest.fixture
def declared(empty: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declared:
    """It, with a worker's rights in the environment."""
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump(CATALOGUE))
    as_environment(empty, tmp_path, monkeypatch)
    made = Declared(empty, tmp_path / "catalogue")
    made.become(monkeypatch, "keyturn-worker")
    return made


def test_a_worker_sees_that_all_is_as_declared_and_the_ledger_says_so(declared: Declared) -> None:
    check = declared.check()
    assert check.sound, check.words
    assert check.in_place == len(declared.wanted)
    insist_on_declared(check)
    with declared.opened() as workspace:
        assert last_check(workspace) == check
        ledger: Any = workspace.ledger
        (entry,) = (parse_leaf(leaf).entry for _, leaf in ledger.leaves() if parse_leaf(leaf).entry.action == CHECK)
    assert entry.note == f"all {len(declared.wanted)} as declared"
    assert declared.status()["problem"] == ""


@pytest.mark.attack
def test_drift_is_reported_until_it_is_fixed(declared: Declared) -> None:
    root = declared.empty.root
    root.write_data("auth/approle/role/keyturn-worker", data={"token_policies": "root"})
    root.delete("sys/policies/acl/keyturn-notary")
    root.write_data("identity/group/name/oncall", data={"type": "external", "policies": ["keyturn-revoker"]})
    first, second = declared.check(), declared.check()
    assert set(first.differing) == {
        "drift approle:approle/keyturn-worker (token_policies)",
        "drift policy:keyturn-notary",
        "drift group:oncall (policies)",
    }
    assert (first.since, second.since) == (first.at, first.at)
    with pytest.raises(Invalid, match=r"drift approle:approle/keyturn-worker \(token_policies\)"):
        insist_on_declared(second)
    assert "drift policy:keyturn-notary" in declared.status()["problem"]

    applied(declared.empty.port, declared.wanted)
    assert declared.check().since is None
    assert declared.status()["problem"] == ""


@pytest.mark.attack
def test_unreadable_areas_are_reported_and_unneeded_ones_stay_closed(
    declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared.empty.root.write_data("auth/approle/role/other", data={"token_policies": "default"})
    declared.empty.root.write_data("sys/policies/acl/theirs", data={"policy": 'path "a" { capabilities = ["read"] }'})
    declared.empty.root.sys.enable_secrets_engine("kv", path="legacy", options={"version": "1"})
    declared.empty.root.write_data("legacy/config/database", data={"password": "x"})
    others = ("auth/approle/role/other", "sys/policies/acl/theirs", "sys/policies/acl", "legacy/config/database")
    for login in ("keyturn-planner", "keyturn-worker"):
        declared.become(monkeypatch, login)
        with declared.opened() as workspace:
            readable = [address for address in others if may_look(workspace, address)]
        assert readable == (["sys/policies/acl/theirs"] if login == "keyturn-planner" else [])
    with declared.opened() as workspace, pytest.raises(Denied):
        workspace.hub.setup().put("auth/approle/role/keyturn-worker", {"token_policies": ["root"]})

    policy = declared.empty.read("sys/policies/acl/keyturn-worker")["policy"]
    narrower = policy.replace('path "auth/approle/role/keyturn-worker"', 'path "auth/approle/role/nobody"')
    declared.empty.root.write_data("sys/policies/acl/keyturn-worker", data={"policy": narrower})
    check = declared.check()
    assert check.unknown == ("cannot tell approle:approle/keyturn-worker",)
    assert "could not be looked at: cannot tell approle" in check.words


def test_what_nobody_here_has_written_and_a_look_that_nobody_had_are_told(declared: Declared) -> None:
    assert "not checked yet" in declared.status()["problem"]
    declared.empty.hub.write_state(LAST, {"at": "yesterday"}, cas=0)
    assert "can't be read" in declared.status()["problem"]
    assert declared.check().sound
    assert declared.status()["problem"] == ""
