"""After `keyturn setup hub --apply` alone, the first command of every login works with no more than its own rights."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.naming import LedgerPlace, read_name
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights.hub_check import LAST, HubCheck
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import ROLE_ID_FILE, SECRET_ID_FILE
from tests.hub_setup.site import Empty, as_environment

pytestmark = pytest.mark.sampled(4, of="file")

SECRET = "app/api-key"
CATALOGUE = """
hub:
  keyturn-worker: {kind: approle, login: worker, addresses: [127.0.0.0/8]}
secrets:
  app/api-key:
    owner: shop@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
"""


def keyturn(*words: str, ends: int = 0) -> Result:
    """Run one command in this process, which ends so."""
    done = CliRunner().invoke(app, list(words))
    # No worker runs in these tests: `status` says that this is unknown.
    assert done.exit_code in ({1, 5} if words[0] == "status" else {ends}), f"{words}\n{done.output}"
    return done


def last_look(empty: Empty) -> str:
    """How the record of the last look at the hub begins."""
    state = empty.hub.read_state(LAST)
    assert state is not None
    return HubCheck.from_data(state.data).words[:3]


@pytest.fixture
def new(empty: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Empty:
    """An empty hub, whose administrator knows which ledger the workers have."""
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(CATALOGUE)
    as_environment(empty, tmp_path, monkeypatch)
    monkeypatch.setenv("KEYTURN_LEDGER_NAME", "shop")
    return empty


def test_a_worker_begins_with_its_own_rights_on_what_apply_has_left(
    new: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "it will say keyturn/shop" in " ".join(keyturn("setup", "hub", ends=3).output.split())
    keyturn("setup", "hub", "--apply", "--yes")
    assert last_look(new) == "all", "applying it is a look, too"
    new.hub.delete_state(LAST)
    keyturn("setup", "hub")
    assert last_look(new) == "all", "as the remedy of an overdue look says"
    keyturn("setup", "credentials", "keyturn-worker", "--place", "w", "--directory", str(tmp_path / "worker"))
    new.hub.write(SECRET, SecretFields({"value": "first"}), cas=0)
    monkeypatch.delenv("VAULT_TOKEN")
    for name, file in zip((ROLE_ID_FILE, SECRET_ID_FILE), ("role-id", "secret-id"), strict=True):
        monkeypatch.setenv(name, str(tmp_path / "worker" / file))

    (secret,) = json.loads(keyturn("status", "--json").stdout)["secrets"]
    assert (secret["path"], secret["error"]) == (SECRET, "")
    keyturn("rotate", SECRET, "--now", "--local")
    current = VaultHub(HubSettings.from_environment()).read(SECRET)
    assert current is not None
    assert current.version == 2


@pytest.mark.parametrize("policy", ["keyturn-requester", "keyturn-approver", "keyturn-notary", "keyturn-monitor"])
def test_nobody_else_has_to_wait_for_a_worker(new: Empty, policy: str) -> None:
    keyturn("setup", "hub", "--apply", "--yes")
    name, _ = read_name(new.as_token(new.token("default", policy)))
    assert name is not None
    assert name.origin == "keyturn/shop"
    assert name.keys, "it names the key that signs"


def test_a_second_run_writes_no_other_and_a_key_that_is_gone_is_not_made_anew(new: Empty) -> None:
    keyturn("setup", "hub", "--apply", "--yes")
    before = new.read("keyturn/data/fingerprint-key")["data"]
    assert "0 done" in keyturn("setup", "hub", "--apply", "--yes").output
    assert new.read("keyturn/data/fingerprint-key")["data"] == before
    new.root.delete("keyturn/metadata/fingerprint-key")
    plan = json.loads(keyturn("setup", "hub", "--json", ends=3).stdout)
    assert [(item["name"], item["verdict"]) for item in plan["items"]] == [("entry:keyturn/fingerprint-key", "blocked")]
    keyturn("setup", "hub", "--apply", "--yes", ends=1)
    assert new.root.read("keyturn/data/fingerprint-key") is None


def test_without_a_given_name_the_ledger_is_called_as_the_workspace(
    new: Empty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEYTURN_LEDGER_NAME")
    monkeypatch.delenv("KEYTURN_LEDGER")
    assert "create: entry:keyturn/ledger" in keyturn("setup", "hub", "--apply", "--yes").stderr
    name, _ = read_name(new.hub)
    assert name
    assert (name.origin, name.place) == ("keyturn/default", LedgerPlace())
    keyturn("setup", "hub")


def test_the_address_of_a_shared_ledger_is_recorded_and_a_file_of_the_administrators_machine_is_not(
    new: Empty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_LEDGER", "postgresql://worker@db.example.com/ledger?sslrootcert=/etc/keyturn/ca.pem")
    keyturn("setup", "hub", "--apply", "--yes")
    name, _ = read_name(new.hub)
    assert name
    assert name.place == LedgerPlace("postgresql://worker@db.example.com/ledger")


def test_a_policy_older_than_the_catalogue_is_named_and_its_wider_rules_are_no_excess(
    new: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyturn("setup", "hub", "--logins", str(tmp_path / "logins"), "--apply", "--yes")
    login = tmp_path / "logins" / "keyturn-worker"

    def rights() -> list[dict[str, str]]:
        """What the doctor says of the worker's rights."""
        with monkeypatch.context() as patch:
            patch.delenv("VAULT_TOKEN")
            patch.setenv(ROLE_ID_FILE, str(login / "role-id"))
            patch.setenv(SECRET_ID_FILE, str(login / "secret-id"))
            diagnosis = json.loads(keyturn("doctor", "--json", ends=1).stdout)
        return [each for each in diagnosis["checks"] if each["name"] == "rights of a worker"]

    assert [each["grade"] for each in rights()] == ["ok"]
    _, _, secret = CATALOGUE.partition("secrets:\n")
    (tmp_path / "catalogue" / "all.yaml").write_text(CATALOGUE + secret.replace(SECRET, "openai/key"))
    lacking = rights()
    assert {each["grade"] for each in lacking} == {"failed"}
    assert any("read on secret/metadata/openai/key" in each["words"] for each in lacking)
    assert all("keyturn setup hub --apply" in each["remedy"] for each in lacking)
    keyturn("setup", "hub", "--apply", "--yes")
    assert [each["grade"] for each in rights()] == ["ok"]
