"""The hub and stores as sources of a client, and signed notices end to end."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from keyturn.client.client import SecretClient
from keyturn.client.sources import HubSource, StoreSource
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.notifications.notices import SECRET_REVOKED, SECRET_ROTATED, Notice, message_id
from keyturn.core.ports.hub import EXPIRES_AT
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.prepare import DATABASE
from tests.support.engines import OverPostgreSQL
from tests.support.lab import Lab, fresh
from tests.support.memory_store import MemoryStore
from tests.support.offline import add_generation
from tests.support.people import program

KEY = Sensitive("whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0")
NOW = datetime.now(UTC)
DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"


@pytest.fixture
def path(lab: Lab) -> str:
    path = f"{fresh()}/database"
    lab.hub.write(path, SecretFields({"password": "first", "port": 5432}), cas=0)
    return path


@pytest.mark.attack
def test_a_secret_has_one_name_by_which_notices_and_policies_know_it(lab: Lab, path: str) -> None:
    with SecretClient([HubSource(lab.hub)], poll=0) as client:
        for other in (f"/{path}", f"{path}/", path.replace("/", "//")):
            with pytest.raises(Invalid, match=f"Write {path}$"):
                client.get(other)
            with pytest.raises(Invalid, match=f"Write {path}$"):
                client.get_many([path, other])


def test_the_hub_tells_version_age_and_end(lab: Lab, path: str) -> None:
    ends = NOW + timedelta(hours=1)
    lab.hub.patch_metadata(path, {EXPIRES_AT: ends.isoformat()})
    secret = HubSource(lab.hub).read(path)
    assert (secret.version, secret.revision, secret.source, secret.expires_at) == (1, "1", "hub", ends)
    assert secret["port"].reveal() == "5432"
    assert secret.made_at is not None
    assert 0 <= secret.age() < 60


def test_what_was_deleted_in_the_hub_is_no_secret_and_has_no_version(lab: Lab, path: str) -> None:
    source = HubSource(lab.hub)
    assert source.versions([path, f"{path}-none"]) == {path: "1"}
    assert source.read_many([path, f"{path}-none"]).keys() == {path}
    lab.hub.delete(path, [1])
    assert source.versions([path]) == {}
    with pytest.raises(NotFound, match=f"hub:{path}"):
        source.read(path)


def test_a_login_that_may_read_values_alone_is_told_versions_too(lab: Lab, path: str) -> None:
    other = f"{path}-other"
    lab.hub.write(other, SecretFields({"password": "x"}), cas=0)
    login = program(lab, "reader", rules=f'path "secret/data/{path}" {{ capabilities = ["read"] }}')
    source = HubSource(login.hub())
    assert source.versions([path, other, f"{path}-none"]) == {path: "1"}


def marked(store: MemoryStore, path: str, version: int, text: str) -> None:
    marks = OwnershipTags(path, version, "0" * 64, created_at=NOW)
    store.write("copy", Sensitive(text), marks, store.describe("copy"))


def test_a_copy_tells_the_hubs_version_where_its_marks_are_those_of_its_value() -> None:
    store = MemoryStore("memory")
    source = StoreSource(store, {"a/b": "copy"})
    marked(store, "a/b", 7, '{"password": "x"}')
    secret = source.read("a/b")
    assert (secret.version, secret.source, secret.made_at) == (7, "memory", NOW)
    assert secret["password"].reveal() == "x"
    assert source.read_many(["a/b"])["a/b"].version == 7
    store.put_by_hand("copy", "plain")
    by_hand = source.read("a/b")
    assert by_hand.version is None
    assert by_hand["value"].reveal() == "plain"
    assert by_hand.revision != secret.revision


def test_a_copy_of_another_secret_tells_no_version() -> None:
    store = MemoryStore("memory")
    marked(store, "another", 7, "{}")
    assert StoreSource(store, {"a/b": "copy"}).read("a/b").version is None


def test_a_copy_that_is_not_there_is_named_as_it_is_called_there() -> None:
    with pytest.raises(NotFound, match="memory:copy"):
        StoreSource(MemoryStore("memory"), {"a/b": "copy"}).read("a/b")


def deliver(client: SecretClient, event: str, path: str, version: int) -> int:
    at = datetime.now(UTC)
    notice = Notice(event, path, version, at)
    message, body = message_id(notice.secret_path, notice.version, notice.event), notice.to_json()
    signature = Webhook(KEY.reveal()).sign(message, at, body)
    stamp = str(int(at.timestamp()))
    headers = {"webhook-id": message, "webhook-timestamp": stamp, "webhook-signature": signature}
    return Receiver([KEY]).handle(headers, body.encode(), client.told)


def test_a_notice_is_acknowledged_once_the_new_version_is_what_everybody_gets(lab: Lab, path: str) -> None:
    with SecretClient([HubSource(lab.hub)], poll=0, patience=0.2) as client:
        assert client.get(path)["password"].reveal() == "first"
        assert deliver(client, SECRET_ROTATED, path, 2) == 503
        lab.hub.write(path, SecretFields({"password": "second"}), cas=1)
        assert deliver(client, SECRET_ROTATED, path, 2) == 200
        assert client.get(path)["password"].reveal() == "second"
        lab.hub.destroy(path, [1, 2])
        assert deliver(client, SECRET_REVOKED, path, 2) == 200
        with pytest.raises(NotFound):
            client.get(path)


def test_the_documents_examples_run(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("stores: {aws: {kind: aws-secrets-manager, region: eu-central-1}}")
    add_generation(tmp_path / "key")
    path, logged_in = lab.alternating().path, list[tuple[str, str]]()
    role = OverPostgreSQL(lab).dynamic()
    names: dict[str, Any] = {"connect": lambda *words: logged_in.append(words), "headers": {}, "body": b""}
    names["receiver"] = Receiver([KEY])
    opened, begin = list[SecretClient](), SecretClient.__init__

    def begun(client: SecretClient, *sources: Any, **settings: Any) -> None:
        opened.append(client)
        begin(client, *sources, **settings)

    with pytest.MonkeyPatch.context() as environment:
        environment.setattr(SecretClient, "__init__", begun)
        environment.setattr("keyturn.client.offline.cache_file.guard_memory", lambda: None)
        environment.setenv("VAULT_ADDR", lab.world.hub_address)
        environment.setenv("VAULT_TOKEN", lab.world.hub_token)
        environment.setenv("VAULT_CACERT", str(lab.world.hub_ca))
        environment.setenv("KEYTURN_CATALOGUE", str(tmp_path))
        environment.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
        for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
            there = code.replace("ml-training/database", path).replace('host="db.example", dbname="ml"', host_of(lab))
            there = there.replace("creds/ml-reader", f"creds/{role}").replace("/var/cache/ml", str(tmp_path))
            there = there.replace("/etc/ml/keyturn.key", str(tmp_path / "key"))
            exec(compile(there, str(DOCUMENT), "exec"), names)  # noqa: S102  our own document
    names["engine"].dispose()
    names["pool"].close()
    names["lasting"].close()
    for client in opened:
        client.close()
    assert len(logged_in) == 1
    assert lab.hub.leases(f"database/creds/{role}") == []
    assert names["status"] == 401


def host_of(lab: Lab) -> str:
    return f'host="{lab.world.host}", port={lab.world.port}, dbname="{DATABASE}", sslmode="disable"'


def test_what_the_guide_names_lets_a_login_list_the_secrets_that_a_pattern_means(lab: Lab, tmp_path: Path) -> None:
    folder, token = fresh(), tmp_path / "token"
    for name in ("a", "deep/b"):
        lab.hub.write(f"{folder}/{name}", SecretFields({"x": name}), cas=0)
    listed = re.findall(r"`list` at `([^`]+)`, on OpenBao at `([^`]+)`", DOCUMENT.read_text())[0]
    rules = [f'path "{path}" {{ capabilities = ["list"] }}' for path in listed]
    rules.append('path "secret/data/ml-training/*" { capabilities = ["read"] }')
    lab.root.sys.create_or_update_policy(folder, "\n".join(rules).replace("ml-training", folder))
    token.write_text(lab.root.auth.token.create(policies=[folder])["auth"]["client_token"])
    token.chmod(0o600)
    settings = HubSettings(lab.world.hub_address, login=TokenLogin(file=str(token)))
    with closing(VaultHub(settings)) as hub, SecretClient([HubSource(hub)], poll=0) as client:
        client.warm([f"{folder}/*"])
        assert [secret.path for secret in client.secrets()] == [f"{folder}/a"]
