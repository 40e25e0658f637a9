"""The workspace's namespace is created if the login may; otherwise the refusal is clear."""

import json
import secrets
from pathlib import Path
from typing import Any

import hvac
import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.errors import Taken
from local.openbao import OpenBao
from tests.hub_setup.site import WORKER, Empty, applied, as_environment, planned, verdicts, wanted

pytestmark = pytest.mark.sampled(5, of="file")


def keyturn(*words: str, ends: int = 0) -> Result:
    """Run one command in this process, which ends so."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == ends, f"{words}\n{done.output}"
    return done


class Organisation:
    """One that has no namespace yet, in ``above``, and a catalogue that names it."""

    def __init__(self, above: Empty, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.above, self.directory, self.monkeypatch = above, directory, monkeypatch
        self.name = f"org-{secrets.token_hex(3)}"
        self.path = f"{above.namespace}/{self.name}"
        as_environment(above, directory, monkeypatch)
        monkeypatch.setenv("VAULT_NAMESPACE", self.path)
        (directory / "catalogue").mkdir()
        self.declare({self.name: {"kind": "namespace", "parent": above.namespace}})

    def declare(self, entries: dict[str, dict[str, Any]]) -> None:
        """Let the catalogue have these entries, and a worker's role."""
        text = yaml.safe_dump({"hub": {**WORKER, **entries}})
        (self.directory / "catalogue" / "all.yaml").write_text(text)

    def there(self) -> bool:
        """Whether the hub has the namespace."""
        return self.above.root.read(f"sys/namespaces/{self.name}") is not None

    def inside(self) -> hvac.Client:
        """The same hub as the administrator, in the namespace."""
        server: OpenBao = self.above.server
        verify = server.ca_file or True
        return hvac.Client(url=server.address, token=server.root_token, namespace=self.path, verify=verify)


@pytest.fixture
def organisation(empty: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organisation:
    return Organisation(empty, tmp_path, monkeypatch)


def test_the_namespace_is_planned_made_with_all_that_is_in_it_and_in_place_then(organisation: Organisation) -> None:
    plan = json.loads(keyturn("setup", "hub", "--json", ends=3).stdout)
    assert {item["verdict"] for item in plan["items"]} == {"create"}
    assert plan["items"][0]["name"] == f"namespace:{organisation.path}"
    assert not organisation.there()

    keyturn("setup", "hub", "--apply", "--yes")
    assert organisation.there()
    assert "0 done" in keyturn("setup", "hub", "--apply", "--yes").output
    inside = organisation.inside()
    assert "keyturn-worker" in inside.sys.list_policies()["data"]["policies"]

    token = inside.auth.token.create(policies=["keyturn-planner"], no_default_policy=True)["auth"]["client_token"]
    organisation.monkeypatch.setenv("VAULT_TOKEN", token)
    keyturn("setup", "hub")


def test_a_login_that_may_not_make_it_is_told_who_may(organisation: Organisation) -> None:
    organisation.monkeypatch.setenv("VAULT_TOKEN", organisation.above.token("default"))
    for command in (("plan",), ("apply", "--yes")):
        told = " ".join(keyturn("hub", *command, ends=1).output.split())
        assert "this login may not make it" in told
        assert "bao namespace create" in told
    assert not organisation.there()


@pytest.mark.attack
def test_an_undeclared_or_wrong_namespace_is_reported(organisation: Organisation) -> None:
    organisation.declare({})
    told = keyturn("setup", "hub", ends=1).output
    assert f"the namespace {organisation.path}" in told
    assert "an entry of kind namespace" in " ".join(told.split())
    organisation.declare({"another": {"kind": "namespace"}})
    assert f"VAULT_NAMESPACE points to {organisation.path}" in " ".join(
        keyturn("setup", "hub", "--apply", "--yes", ends=1).output.split()
    )
    assert not organisation.there()


def test_a_mount_above_that_has_its_name_is_told(organisation: Organisation) -> None:
    organisation.above.root.sys.enable_secrets_engine("kv", path=organisation.name)
    told = " ".join(keyturn("setup", "hub", "--apply", "--yes", ends=1).output.split())
    assert "a mount above it has this name" in told


def test_a_mount_that_a_namespace_has_the_name_of_is_blocked_with_the_remedy(empty: Empty) -> None:
    empty.root.adapter.request("post", "/v1/sys/namespaces/secret")
    everything = wanted(WORKER)
    (item,) = (item for item in planned(empty.port, everything).items if item.resource.key == "mount:secret")
    assert item.verdict == "blocked"
    assert "the namespace secret/ has this name" in item.why
    assert "KEYTURN_HUB_MOUNT" in item.why
    applied(empty.port, everything)
    assert verdicts(planned(empty.port, everything)) == {"mount:secret": "blocked"}
    with pytest.raises(Taken, match="a mount or a namespace is there already"):
        empty.port.put("sys/mounts/secret", {"type": "kv"})
