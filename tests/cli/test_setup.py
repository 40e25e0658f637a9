"""`keyturn setup`: preview, apply and repeat."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.errors import Invalid
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import Sensitive
from keyturn.providers.apprise_channel import insist_on_address
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from local.emulators.kubernetes import Account
from local.emulators.kubernetes.access import rules_of
from local.openbao import OpenBao
from local.pager import Pager
from local.support.ports import free_port
from tests.contracts.store import fresh_value, put
from tests.hub_setup.site import as_environment, empty_hub
from tests.support.announcements import load_apprise
from tests.support.at_work import existing_account
from tests.support.cluster import running
from tests.support.lab import Declared, Lab, fresh


def keyturn(*words: str, ends: int = 0) -> Result:
    """Run one command in this process, which ends so."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == ends, f"{words}\n{done.output}"
    return done


@pytest.fixture
def secret(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declared:
    """A secret whose account an application uses; the environment leads to the lab, and has the superuser's login."""
    declared = existing_account(lab, fresh())
    entry = {**declared.data, "rotation": {**declared.data["rotation"], "target": declared.owner}}
    targets = {
        declared.owner: declared.targets["pg"],
        "cache": {"kind": "redis", "host": "127.0.0.1", "admin": "targets/cache"},
    }
    content = {"targets": targets, "secrets": {declared.path: entry}}
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(json.dumps(content))
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    monkeypatch.setenv("VAULT_CACERT", lab.world.hub_ca or "")
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setenv("PGPASSWORD", lab.world.superuser_password)
    return declared


def test_a_target_is_set_up_once_and_its_accounts_rotate(lab: Lab, secret: Declared) -> None:
    shown = keyturn("setup", "target", secret.owner, "--admin-role", f"{secret.owner}_admin", ends=3).stdout
    assert f"ALTER ROLE {secret.users[0]} SET role = {secret.owner};\nCOMMIT;" in shown
    assert lab.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{secret.owner}_admin'") == []  # noqa: S608
    keyturn("setup", "target", secret.owner, "--admin-role", f"{secret.owner}_admin", "--apply")
    kept = lab.hub.read_state(f"targets/{secret.owner}")
    assert kept
    assert kept.data["username"] == f"{secret.owner}_admin"
    assert lab.logs_in(kept.data)
    again = keyturn("setup", "target", secret.owner, "--apply", "--json")
    assert kept.data["password"] not in shown + again.output
    assert json.loads(again.stdout)["transactions"] == []
    lab.sql(f"ALTER ROLE {secret.owner}_admin PASSWORD 'of-somebody-else'")
    refused = keyturn("setup", "target", secret.owner, "--apply", ends=1).stderr
    assert f"the admin account {secret.owner}_admin is refused" in refused
    assert "is set up" not in refused
    lab.sql(f"ALTER ROLE {secret.owner}_admin PASSWORD '{kept.data['password']}'")
    assert rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED


@pytest.mark.attack
def test_an_impossible_target_setup_is_reported_in_one_line(
    lab: Lab, secret: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "is not set up by statements"
        in keyturn("setup", "target", "cache", "--password-env", "PGPASSWORD", ends=1).stderr
    )
    taken = keyturn("setup", "target", secret.owner, "--admin-role", f"{secret.owner}_readers", ends=1)
    assert "the hub has no password of it" in taken.stderr
    master = ("--user", f"{secret.owner}_master", "--apply", "--admin-role", f"{secret.owner}_admin")
    lab.sql(f"CREATE ROLE {master[1]} LOGIN CREATEROLE PASSWORD 'of-the-master'")
    monkeypatch.setenv("MASTER", "of-the-master")
    limited = keyturn("setup", "target", secret.owner, *master, "--password-env", "MASTER", ends=1).stderr
    assert "may not run" in limited
    lab.sql(f"CREATE VIEW {secret.owner}_own AS SELECT current_user")
    apart = keyturn("setup", "target", secret.owner, "--apply", *master[2:], ends=1).stderr
    assert f"the view public.{secret.owner}_own asks for the current user" in apart
    assert "--accept-current-user" in apart
    assert lab.hub.read_state(f"targets/{secret.owner}") is None
    keyturn("setup", "target", secret.owner, "--apply", *master[2:], "--accept-current-user")
    lab.sql(f"DROP VIEW {secret.owner}_own")
    monkeypatch.delenv("PGPASSWORD")
    assert "--password-file FILE" in keyturn("setup", "target", secret.owner, ends=1).stderr


HUB = """
hub:
  keyturn-worker: {kind: approle, login: worker, addresses: [127.0.0.0/8]}
  keyturn-revoker: {kind: approle, login: revoker, addresses: [127.0.0.0/8]}
secrets:
  app/api-key:
    owner: tests@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
"""


def test_a_hub_is_set_up_with_login_files_that_are_kept_while_they_are_valid(
    openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(HUB)
    logins = tmp_path / "logins"
    with empty_hub(openbao, tmp_path) as empty:
        as_environment(empty, tmp_path, monkeypatch)
        planned = keyturn("setup", "hub", "--logins", str(logins), ends=3)
        assert "under `hub:` of the catalogue write: keyturn-notary: {kind: approle, login: notary" in planned.stderr
        assert f"to be made: {logins}/keyturn-worker/role-id" in planned.stderr
        assert not logins.exists()
        made = keyturn("setup", "hub", "--logins", str(logins), "--apply")
        files = sorted(logins.rglob("*-id"))
        assert [str(file.relative_to(logins)) for file in files] == [
            f"{role}/{name}" for role in ("keyturn-revoker", "keyturn-worker") for name in ("role-id", "secret-id")
        ]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o400}
        first = [file.read_text() for file in files]
        assert not any(text in made.output for text in first)
        again = keyturn("setup", "hub", "--logins", str(logins), "--apply")
        assert [file.read_text() for file in files] == first
        assert f"in place: {logins}/keyturn-worker" in again.stderr
        secret_id = logins / "keyturn-worker" / "secret-id"
        empty.root.auth.approle.destroy_secret_id("keyturn-worker", secret_id.read_text())
        keyturn("setup", "hub", "--logins", str(logins), "--apply")
        replaced = [file.read_text() for file in files]
        assert [old == new for old, new in zip(first, replaced, strict=True)] == [True, True, True, False]
        login = empty.root.auth.approle.login(replaced[2], replaced[3], use_token=False)
        assert "keyturn-worker" in login["auth"]["policies"]


STORES = """
stores:
  aws: {kind: aws-secrets-manager, region: eu-central-1}
  plant: {kind: vault, address: "ADDRESS", namespace: NAMESPACE, token_file: /etc/keyturn/plant-token}
secrets:
  app/api-key:
    owner: tests@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
    destinations: [{store: aws, name: app-api-key}, {store: plant, name: app/api-key}]
"""


@pytest.mark.attack
def test_a_stores_rights_are_written_as_files_for_its_administrator(
    openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with empty_hub(openbao, tmp_path) as empty:
        as_environment(empty, tmp_path, monkeypatch)
        (tmp_path / "catalogue").mkdir()
        content = STORES.replace("ADDRESS", openbao.address).replace("NAMESPACE", empty.namespace)
        (tmp_path / "catalogue" / "all.yaml").write_text(content)
        shown = keyturn("setup", "store", "aws")
        assert "app-api-key" in shown.stdout
        assert "an IAM administrator" in shown.stderr
        assert "store of kind aws-secrets-manager" in keyturn("setup", "store", "aws", "--apply", ends=1).stderr
        keyturn("setup", "store", "plant", "--apply")
        rendered = json.loads(keyturn("setup", "store", "--json").stdout)["documents"]
        texts = {document["name"]: document["text"] for document in rendered}
        assert empty.read("sys/policies/acl/keyturn-store-plant")["policy"] == texts["store-plant.hcl"]
        assert "in place: the policy keyturn-store-plant" in keyturn("setup", "store", "plant", "--apply").stderr
        empty.root.sys.create_or_update_policy("keyturn-store-plant", 'path "a" { capabilities = ["read"] }')
        assert "Keyturn has not made it" in keyturn("setup", "store", "plant", "--apply", ends=1).stderr
        monkeypatch.delenv("VAULT_NAMESPACE")
        assert "another namespace" in keyturn("setup", "store", "plant", "--apply", ends=1).stderr


CLUSTER = """
stores:
  apps: {kind: kubernetes, namespace: apps, server: "SERVER", ca_file: "CA", token_file: "TOKEN"}
secrets:
  app/api-key:
    owner: tests@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
    destinations: [{store: apps, name: app-api-key}]
"""


@pytest.mark.attack
def test_a_store_in_kubernetes_is_set_up_by_your_own_kubeconfig_and_what_others_made_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalogue").mkdir()
    with running(tmp_path) as cluster:
        token = tmp_path / "keyturn.token"
        token.write_text("keyturn's token")
        content = CLUSTER.replace("SERVER", cluster.server.url).replace("CA", str(tmp_path / "ca.pem"))
        (tmp_path / "catalogue" / "all.yaml").write_text(content.replace("TOKEN", str(token)))
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "mine",
            "clusters": [{"name": "c", "cluster": {"server": cluster.server.url, "certificate-authority": "ca.pem"}}],
            "users": [{"name": "u", "user": {"token": "admin's token"}}],
            "contexts": [{"name": "mine", "context": {"cluster": "c", "user": "u"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
        made = keyturn("setup", "store", "apps", "--apply")
        assert [line.partition(":")[0] for line in made.stderr.splitlines()] == ["written"] * 5, made.stderr
        rbac: Any = kubernetes.client.RbacAuthorizationV1Api(cluster.core.api_client)
        role = json.loads(rbac.read_namespaced_role("keyturn-apps", "apps", _preload_content=False).data)
        cluster.emulator.admit(Account("keyturn", "keyturn's token", rules_of(role)))
        with closing(cluster.store(restart=False)) as store:
            put(store, "app-api-key", fresh_value(), 1)
        binding = rbac.read_namespaced_role_binding("keyturn-apps", "apps")
        assert binding.subjects[0].name == "system:serviceaccount:apps:keyturn-worker"
        again = keyturn("setup", "store", "apps", "--apply")
        assert [line.partition(":")[0] for line in again.stderr.splitlines()] == ["in place"] * 5, again.stderr
        rbac.patch_namespaced_role("keyturn-apps", "apps", {"metadata": {"labels": None}})
        assert "Keyturn has not made it" in keyturn("setup", "store", "apps", "--apply", ends=1).stderr
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"  # type: ignore[index]
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        assert "points to https://127.0.0.1:9" in keyturn("setup", "store", "apps", "--apply", ends=1).stderr


def test_a_test_notice_reaches_the_channel_or_names_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    load_apprise()
    for name in ("KEYTURN_FAILURE_URL", "KEYTURN_FAILURE_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert "neither KEYTURN_FAILURE_URL nor KEYTURN_FAILURE_URL_FILE is set" in keyturn(
        "setup", "test-notice", ends=1
    ).stderr.replace("\n", " ")
    with closing(Pager(free_port())) as pager:
        monkeypatch.setenv("KEYTURN_FAILURE_URL", pager.address)
        keyturn("setup", "test-notice")
        assert [message.splitlines()[0] for message in pager.messages] == ["Keyturn: a test notice"]


def test_the_address_of_a_slack_webhook_is_a_channel_as_it_was_copied() -> None:
    load_apprise()
    insist_on_address(Sensitive(f"https://hooks.slack.com/services/{'T' * 9}/{'B' * 9}/{'c' * 24}"))
    with pytest.raises(Invalid, match="Apprise knows no such address"):
        insist_on_address(Sensitive("slck://a/b/c"))
