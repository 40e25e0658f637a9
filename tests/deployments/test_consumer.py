"""The demonstration's application: a process of its own, against a real hub, database and store."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import hvac
import psycopg2
import psycopg2.extensions
import pytest
import requests

from keyturn.core.errors import Denied, TransientError
from keyturn.core.fingerprint import fingerprint, payload
from keyturn.core.notifications.notices import (
    HEALTH_PATH,
    NOTICE_PATH,
    SECRET_REVOKED,
    SECRET_ROTATED,
    Notice,
    message_id,
)
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.aws.queues import SqsQueue
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from keyturn.providers.deliver_notices import sign_notice
from keyturn.providers.http.webhook import WebhookSender
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(9, of="file")

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER_KEY = Sensitive("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
PATH = "ml-training/database"
COPY = "ml-database-credentials"
REGION = "eu-central-1"
OLD, NEW, LATER = "old-Zq81vPw", "new-Jx27mLd", "later-Rk55tNc"
"""Passwords, told apart from every word that a log might hold."""


@dataclass(frozen=True)
class Stack:
    """The servers, and the files that lead to them."""

    directory: Path
    hub: OpenBao
    postgres: PostgreSQL
    aws: LocalAws

    @contextmanager
    def superuser(self) -> Iterator[psycopg2.extensions.cursor]:
        connection = psycopg2.connect(
            host=self.postgres.host,
            port=self.postgres.port,
            dbname="postgres",
            user=self.postgres.superuser,
            password=self.postgres.superuser_password,
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
        connection.close()

    def allow(self, user: str, password: str) -> None:
        """Let ``user`` log in with this password from now on, acting as the owner of the tables."""
        with self.superuser() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE ROLE {user} LOGIN IN ROLE ml_owner")
                cursor.execute(f"ALTER ROLE {user} SET role = ml_owner")
            cursor.execute(f"ALTER ROLE {user} PASSWORD %s", (password,))

    def sessions(self, application: str) -> set[str]:
        """The accounts that ``application`` has connections of."""
        with self.superuser() as cursor:
            cursor.execute("SELECT usename FROM pg_stat_activity WHERE application_name = %s", (application,))
            # A connection that is just beginning has no account yet.
            return {row[0] for row in cursor.fetchall() if row[0]}

    def put(self, path: str, **fields: str) -> int:
        """Write a secret's next version to the hub."""
        client = hvac.Client(url=self.hub.address, token=self.hub.root_token)
        written = client.secrets.kv.v2.create_or_update_secret(path=path, secret=fields, mount_point="secret")
        client.adapter.close()
        return int(written["data"]["version"])

    def destroy(self, path: str, version: int) -> None:
        """Remove a version's values from the hub for good."""
        client = hvac.Client(url=self.hub.address, token=self.hub.root_token)
        client.secrets.kv.v2.destroy_secret_versions(path=path, versions=[version], mount_point="secret")
        client.adapter.close()

    def cut(self, user: str) -> None:
        """Refuse ``user``'s logins and end its sessions, as a revocation does."""
        with self.superuser() as cursor:
            cursor.execute(f"ALTER ROLE {user} PASSWORD NULL")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (user,))

    def forget(self, path: str) -> None:
        client = hvac.Client(url=self.hub.address, token=self.hub.root_token)
        client.secrets.kv.v2.delete_metadata_and_all_versions(path=path, mount_point="secret")
        client.adapter.close()

    def push(self, version: int, **fields: str) -> None:
        """Bring the copy in AWS to this version, as Keyturn does."""
        store = AwsSecretsManager("aws", region=REGION, endpoint_url=self.aws.endpoint_url)
        value = payload(SecretFields(fields))
        store.write(
            COPY,
            value,
            OwnershipTags(PATH, version, fingerprint(KEY, value), created_at=datetime.now(UTC)),
            store.describe(COPY),
        )
        store.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stack")
    hub = OpenBao(directory / "hub", free_port(), dev=True)
    postgres = PostgreSQL(directory / "postgres", free_port(), durable=False)
    aws = LocalAws(directory / "aws", free_port())
    with hub, postgres, aws:
        stack = Stack(directory, hub, postgres, aws)
        _make_role(stack)
        with stack.superuser() as cursor:
            cursor.execute("CREATE ROLE ml_owner NOLOGIN")
            cursor.execute("CREATE DATABASE ml OWNER ml_owner")
        yield stack


def _make_role(stack: Stack) -> None:
    """An AppRole that may read the application's secrets and nothing else."""
    client = hvac.Client(url=stack.hub.address, token=stack.hub.root_token)
    client.sys.create_or_update_policy("trainer", 'path "secret/data/ml-training/*" { capabilities = ["read"] }')
    client.sys.enable_auth_method("approle")
    client.auth.approle.create_or_update_approle("trainer", token_policies=["trainer"])
    role_id = client.auth.approle.read_role_id("trainer")["data"]["role_id"]
    secret_id = client.auth.approle.generate_secret_id("trainer")["data"]["secret_id"]
    client.adapter.close()
    (stack.directory / "role-id").write_text(role_id)
    (stack.directory / "secret-id").write_text(f"{secret_id}\n")
    (stack.directory / "webhook-key").write_text(f"{KEY.reveal()}\n")


@pytest.fixture
def stack(servers: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The servers with version 1 of the secret, which logs in."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(servers.aws.credentials))
    servers.allow("trainer_a", OLD)
    servers.allow("trainer_b", NEW)
    assert servers.put(PATH, username="trainer_a", password=OLD) == 1
    yield servers
    servers.forget(PATH)


class Consumer:
    """The running application."""

    def __init__(self, stack: Stack, source: str, *more: str) -> None:
        self.name = f"trainer-{source}"
        files = ("role-id", "secret-id", "webhook-key")
        arguments = [argument for file in files for argument in (f"--{file}-file", str(stack.directory / file))]
        environment = {
            **os.environ,
            "VAULT_ADDR": stack.hub.address,
            "KEYTURN_AWS_ENDPOINT": stack.aws.endpoint_url,
            "AWS_DEFAULT_REGION": REGION,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.consumer", f"--name={self.name}", "--port=0",
             f"--source={source}", f"--secret={PATH}", *arguments, f"--postgres-port={stack.postgres.port}",
             "--database=ml", *more],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout
        self.url = self.process.stdout.readline().removeprefix("ready on ").strip()
        self.sender = WebhookSender(self.name, self.url)

    def stats(self) -> dict[str, Any]:
        told: dict[str, Any] = requests.get(f"{self.url}/stats", timeout=5).json()
        return told

    def healthy(self) -> bool:
        return requests.get(self.url + HEALTH_PATH, timeout=5).status_code == 200

    def tell(self, version: int, *, path: str = PATH, key: Sensitive = KEY, event: str = SECRET_ROTATED) -> None:
        notice = Notice(event, path, version, datetime.now(UTC))
        sent_id = message_id(path, version, event)
        self.sender.send(sign_notice([key], notice, sent_id, self.name), 10)

    def serves_more(self) -> None:
        """Wait until it has served ten queries more."""
        before = self.stats()["served"]
        wait_until(lambda: self.stats()["served"] > before + 10)

    def stop(self) -> str:
        """End it as an operator does, and give all that it wrote."""
        self.sender.close()
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=15)
        assert self.process.returncode == 0, err
        return out + err


def wait_until(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@contextmanager
def running(stack: Stack, source: str, *more: str) -> Iterator[Consumer]:
    consumer = Consumer(stack, source, *more)
    try:
        yield consumer
    finally:
        written = consumer.stop()
    assert not [secret for secret in (OLD, NEW, LATER, KEY.reveal()) if secret in written]


@pytest.fixture
def trainer(stack: Stack) -> Iterator[Consumer]:
    with running(stack, "hub") as consumer:
        yield consumer


def test_a_rotation_costs_no_query_and_leaves_no_session_of_the_old_account(stack: Stack, trainer: Consumer) -> None:
    trainer.serves_more()
    assert stack.sessions(trainer.name) == {"trainer_a"}
    trainer.tell(stack.put(PATH, username="trainer_b", password=NEW))
    assert stack.sessions(trainer.name) <= {"trainer_b"}
    trainer.serves_more()
    told = trainer.stats()
    assert trainer.healthy()
    assert (told["name"], told["source"], told["username"], told["version"]) == ("trainer-hub", "hub", "trainer_b", 2)
    assert (told["failed"], told["reloads"], told["last_error_class"]) == (0, 1, None)
    sent_id = message_id(PATH, 2, SECRET_ROTATED)
    assert told["acknowledged"] == [{"id": sent_id, "secret_path": PATH, "version": 2}]


def test_the_queries_write_to_a_table_of_the_owner(stack: Stack, trainer: Consumer) -> None:
    trainer.serves_more()
    with psycopg2.connect(
        host=stack.postgres.host, port=stack.postgres.port, dbname="ml", user="trainer_b", password=NEW
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute("SELECT sum(done), min(ran_as), max(ran_as) FROM jobs WHERE worker LIKE 'trainer-hub%'")
        done, *ran_as = cursor.fetchone() or ()
    connection.close()
    assert done > 10
    assert ran_as == ["ml_owner", "ml_owner"]


def test_a_credential_that_does_not_log_in_is_refused_and_the_old_one_stays_in_use(
    stack: Stack, trainer: Consumer
) -> None:
    version = stack.put(PATH, username="trainer_b", password=LATER)
    with pytest.raises(TransientError, match="503"):
        trainer.tell(version)
    trainer.serves_more()
    told = trainer.stats()
    assert (told["username"], told["failed"], told["acknowledged"]) == ("trainer_a", 0, [])
    stack.allow("trainer_b", LATER)
    trainer.tell(version)
    assert trainer.stats()["username"] == "trainer_b"


def test_a_hub_that_lags_behind_the_notice_is_waited_for(stack: Stack, trainer: Consumer) -> None:
    late = threading.Timer(0.5, lambda: stack.put(PATH, username="trainer_b", password=NEW))
    late.start()
    trainer.tell(2)
    assert trainer.stats()["version"] == 2
    late.join()


def test_a_repeat_is_acknowledged_without_another_reload(stack: Stack, trainer: Consumer) -> None:
    version = stack.put(PATH, username="trainer_b", password=NEW)
    trainer.tell(version)
    trainer.tell(version)
    assert (trainer.stats()["reloads"], len(trainer.stats()["acknowledged"])) == (1, 1)


def test_a_notice_of_somebody_else_moves_nothing(stack: Stack, trainer: Consumer) -> None:
    version = stack.put(PATH, username="trainer_b", password=NEW)
    with pytest.raises(Denied):
        trainer.tell(version, key=OTHER_KEY)
    assert trainer.stats()["username"] == "trainer_a"


def test_a_second_webhook_key_is_accepted_as_soon_as_it_is_in_the_file(stack: Stack, trainer: Consumer) -> None:
    file = stack.directory / "webhook-key"
    file.write_text(f"{KEY.reveal()}\n{OTHER_KEY.reveal()}\n")
    trainer.tell(stack.put(PATH, username="trainer_b", password=NEW), key=OTHER_KEY)
    file.write_text(f"{KEY.reveal()}\n")
    with pytest.raises(Denied):
        trainer.tell(3, key=OTHER_KEY)


def test_another_secret_is_read_again_without_a_new_pool(stack: Stack, trainer: Consumer) -> None:
    trainer.tell(stack.put("ml-training/api-keys", key=LATER), path="ml-training/api-keys")
    told = trainer.stats()
    assert (told["reloads"], told["acknowledged"][0]["secret_path"]) == (0, "ml-training/api-keys")


def test_a_secret_that_it_may_not_read_is_not_acknowledged(stack: Stack, trainer: Consumer) -> None:
    with pytest.raises(TransientError, match="503"):
        trainer.tell(stack.put("somebody/else", key=LATER), path="somebody/else")
    assert trainer.stats()["acknowledged"] == []


def test_a_credential_that_dies_without_notice_costs_queries_that_are_counted_and_is_replaced(
    stack: Stack, trainer: Consumer
) -> None:
    trainer.serves_more()
    stack.allow("trainer_a", LATER)
    wait_until(lambda: not trainer.healthy())
    assert trainer.stats()["failed"] > 0
    stack.put(PATH, username="trainer_b", password=NEW)
    # Sessions that logged in before go on for a moment, so health alone does not tell that it has moved.
    wait_until(lambda: trainer.stats()["username"] == "trainer_b")
    trainer.serves_more()
    told = trainer.stats()
    assert trainer.healthy()
    assert (told["reloads"], told["acknowledged"]) == (1, [])
    assert told["last_error_class"] == "OperationalError"


def test_a_session_that_is_killed_costs_a_query_and_the_application_goes_on(stack: Stack, trainer: Consumer) -> None:
    trainer.serves_more()
    with stack.superuser() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trainer-hub'")
    wait_until(lambda: trainer.stats()["failed"] > 0)
    trainer.serves_more()
    assert trainer.healthy()


def test_a_revoked_credential_is_left_for_its_replacement(stack: Stack, trainer: Consumer) -> None:
    stack.cut("trainer_a")
    trainer.tell(stack.put(PATH, username="trainer_b", password=NEW), event=SECRET_REVOKED)
    assert stack.sessions(trainer.name) <= {"trainer_b"}
    trainer.serves_more()
    told = trainer.stats()
    assert trainer.healthy()
    assert (told["username"], told["version"]) == ("trainer_b", 2)
    assert told["acknowledged"] == [{"id": message_id(PATH, 2, SECRET_REVOKED), "secret_path": PATH, "version": 2}]


def test_a_replacement_that_does_not_log_in_is_not_acknowledged(stack: Stack, trainer: Consumer) -> None:
    stack.cut("trainer_a")
    version = stack.put(PATH, username="trainer_b", password=LATER)
    with pytest.raises(TransientError, match="503"):
        trainer.tell(version, event=SECRET_REVOKED)
    assert trainer.stats()["acknowledged"] == []


def test_a_credential_that_is_revoked_without_a_replacement_is_acknowledged_once_it_is_out_of_use(
    stack: Stack, trainer: Consumer
) -> None:
    stack.cut("trainer_a")
    trainer.tell(1, event=SECRET_REVOKED)
    told = trainer.stats()
    assert (told["reloads"], [one["version"] for one in told["acknowledged"]]) == (0, [1])
    wait_until(lambda: not trainer.healthy())


def test_open_connections_are_dropped_where_only_the_logins_of_a_revoked_credential_could_be_ended(
    stack: Stack, trainer: Consumer
) -> None:
    trainer.serves_more()
    stack.allow("trainer_a", LATER)
    trainer.tell(1, event=SECRET_REVOKED)
    assert stack.sessions(trainer.name) == set()


def test_what_replaces_a_revoked_credential_later_is_found_without_a_notice(stack: Stack, trainer: Consumer) -> None:
    stack.cut("trainer_a")
    stack.destroy(PATH, 1)
    trainer.tell(1, event=SECRET_REVOKED)
    assert [one["version"] for one in trainer.stats()["acknowledged"]] == [1]
    wait_until(lambda: not trainer.healthy())
    stack.put(PATH, username="trainer_b", password=NEW)
    wait_until(trainer.healthy)
    assert trainer.stats()["username"] == "trainer_b"


def test_another_secret_that_is_revoked_and_gone_is_acknowledged(stack: Stack, trainer: Consumer) -> None:
    path = "ml-training/api-keys"
    version = stack.put(path, key=LATER)
    stack.destroy(path, version)
    with pytest.raises(TransientError, match="503"):
        trainer.tell(version, path=path)
    trainer.tell(version, path=path, event=SECRET_REVOKED)
    assert trainer.stats()["acknowledged"][0]["secret_path"] == path


def test_what_is_no_notice_and_no_address_is_refused(trainer: Consumer) -> None:
    url = trainer.url + NOTICE_PATH
    assert requests.post(url, data=b"{}", timeout=5).status_code == 401
    assert requests.post(url, data=b" " * 100_000, timeout=5).status_code == 400
    assert requests.post(url, data=iter([b"{}"]), timeout=5).status_code == 411
    assert requests.post(f"{trainer.url}/", data=b"{}", timeout=5).status_code == 404
    assert requests.get(f"{trainer.url}/", timeout=5).status_code == 404


def test_the_copy_in_aws_is_followed_and_waited_for_where_it_lags(stack: Stack) -> None:
    stack.push(1, username="trainer_a", password=OLD)
    with running(stack, "aws", f"--aws-secret={COPY}") as trainer:
        told = trainer.stats()
        assert (told["source"], told["username"], told["version"]) == ("aws", "trainer_a", 1)
        late = threading.Timer(0.5, lambda: stack.push(2, username="trainer_b", password=NEW))
        late.start()
        trainer.tell(2)
        late.join()
        trainer.serves_more()
        told = trainer.stats()
        assert (told["username"], told["version"], told["failed"]) == ("trainer_b", 2, 0)
        assert datetime.fromisoformat(told["rotated_at"]).year >= 2025


def test_it_takes_notices_from_a_queue_too(stack: Stack) -> None:
    arn = f"arn:aws:sqs:{REGION}:123456789012:notices"
    make: Any = boto3.Session().client  # the stubs of this service are not installed
    with closing(make("sqs", region_name=REGION, endpoint_url=stack.aws.endpoint_url)) as sqs:
        sqs.create_queue(QueueName="notices")
    queue = SqsQueue("trainer", arn, endpoint_url=stack.aws.endpoint_url)
    with running(stack, "hub", f"--queue-arn={arn}") as trainer, closing(queue):
        version = stack.put(PATH, username="trainer_b", password=NEW)
        sent_id = message_id(PATH, version, SECRET_ROTATED)
        queue.send(sign_notice([KEY], Notice(SECRET_ROTATED, PATH, version, datetime.now(UTC)), sent_id, "trainer"), 5)
        wait_until(lambda: trainer.stats()["version"] == version)
        wait_until(lambda: [told["id"] for told in trainer.stats()["acknowledged"]] == [sent_id])
        assert trainer.stats()["failed"] == 0


def test_it_does_not_begin_without_its_secret(stack: Stack) -> None:
    stack.forget(PATH)
    consumer = Consumer(stack, "hub")
    out, err = consumer.process.communicate(timeout=15)
    consumer.sender.close()
    assert (consumer.process.returncode, consumer.url, out) == (1, "", "")
    assert err == f"trainer-hub: read hub:{PATH}: there is no such secret. Check its name, or write it there\n"
