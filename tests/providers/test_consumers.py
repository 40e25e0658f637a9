"""Every consumer channel, opened from the catalogue and used by a rotation."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.catalogue.consumers.registry import CONSUMERS
from keyturn.client.webhooks.keys import HubKeys
from keyturn.client.webhooks.notice_files import NoticeFiles
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Invalid, NotFound, UnsupportedOperation
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.core.ports.consumers import ChecksHealth
from keyturn.core.rights.capabilities import capability
from keyturn.core.schedule.due import Trigger
from keyturn.core.webhook_keys import generate_webhook_key
from keyturn.providers.redis.channel import RedisReader
from keyturn.rotation.rollout import ACKNOWLEDGED, HANDED_OVER
from keyturn.rotation.run import rotate
from keyturn.wiring.registry import CatalogueSender, open_consumer
from local.emulators.aws import LocalAws
from local.redis import Redis
from tests.support.acl import Acl
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh

KINDS: dict[str, dict[str, Any]] = {
    "http": {"url": "https://app.example.com"},
    "aws-sqs": {
        "queue_arn": "arn:aws:sqs:eu-central-1:111122223333:jobs",
        "role_arn": "arn:aws:iam::111122223333:role/keyturn",
    },
    "aws-sns": {"topic_arn": "arn:aws:sns:eu-central-1:111122223333:jobs", "endpoint_url": "http://127.0.0.1:9"},
    "azure-service-bus": {"namespace_url": "https://ml.servicebus.windows.net", "topic": "jobs"},
    "gcp-pubsub": {"topic": "projects/ml/topics/jobs", "endpoint": "127.0.0.1:8085"},
    "process": {"directory": "/run/app/notices", "pid_file": "/run/app/pid", "signal": "USR1"},
    "redis": {"host": "redis.example.com", "channel": "c", "login": "webhooks/app/login"},
}


def settings(kind: str) -> Any:
    entry = {"kind": kind, "signing_key": "webhooks/app", **KINDS[kind]}
    return Catalogue.model_validate({"consumers": {"app": entry}}).consumer("app")


def test_every_kind_is_tried_here() -> None:
    assert set(KINDS) == set(CONSUMERS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_opened_by_its_settings_alone(
    lab: Lab, kind: str, aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(name, "00000000-0000-0000-0000-000000000000")
    made = settings(kind)
    sender = open_consumer("app", made, lab.hub)
    try:
        assert sender.name == "app"  # type: ignore[attr-defined]
        assert bool(capability(sender, ChecksHealth)) == made.HEALTH
    finally:
        sender.close()


class Application:
    """Takes notices whichever way they come; a few of them end in an error first."""

    def __init__(self, lab: Lab, signing_key: str) -> None:
        self.notices: list[Notice] = []
        self.receiver = Receiver(HubKeys(lab.hub, signing_key))

    def handle(self, text: str | bytes) -> int:
        return self.receiver.handle_message(text, self.notices.append)


@contextmanager
def running(reader: Any) -> Iterator[None]:
    thread = threading.Thread(target=reader.run)
    thread.start()
    yield
    reader.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_rotation_and_a_revocation_tell_applications_without_an_address(
    lab: Lab, redis: Redis, tmp_path: Path
) -> None:
    acl, channel, name = Acl(redis), f"c-{fresh()}", fresh()
    keys = {kind: f"webhooks/{kind}/{name}" for kind in ("files", "channel")}
    for path in keys.values():
        lab.keep(path, {"key": generate_webhook_key().reveal()})
    login = acl.user(f"-@all +publish resetchannels &{channel}")
    lab.keep(f"webhooks/channel/{name}/login", login.reveal())
    directory = tmp_path / "notices"
    directory.mkdir()
    consumers = {
        "files": {"kind": "process", "directory": str(directory), "signing_key": keys["files"]},
        "channel": {
            "kind": "redis",
            "host": redis.host,
            "port": redis.port,
            "tls": False,
            "channel": channel,
            "login": f"webhooks/channel/{name}/login",
            "signing_key": keys["channel"],
        },
    }
    secret = lab.generated(consumers=["files", "channel"])
    workspace = lab.open(secret, consumers=consumers).workspace
    workspace = replace(workspace, sender=CatalogueSender(workspace.catalogue, lab.hub))
    files, channels = Application(lab, keys["files"]), Application(lab, keys["channel"])
    listener, listening = acl.user(f"-@all +subscribe resetchannels &{channel}"), threading.Event()
    reader = RedisReader(
        channel, channels.handle, host=redis.host, port=redis.port, tls=False, login=lambda: listener,
        missed=listening.set,
    )  # fmt: skip
    with running(NoticeFiles(directory, files.handle)), running(reader):
        assert listening.wait(10)
        outcome = rotate(workspace, secret.path, Trigger.FORCE)
        assert {told.consumer: told.words for told in outcome.consumers} == {
            "files": ACKNOWLEDGED,
            "channel": HANDED_OVER,
        }
        assert eventually(lambda: channels.notices)
        assert [(notice.secret_path, notice.version) for notice in files.notices] == [(secret.path, 2)]
        assert channels.notices == files.notices
        workspace.sender.deliver("files", secret.path, 2, workspace.clock(), SECRET_REVOKED)
        assert [notice.event for notice in files.notices][1:] == [SECRET_REVOKED]
    with pytest.raises(UnsupportedOperation):
        workspace.sender.check_health("channel")


def test_a_login_to_tell_by_that_is_not_whole_is_named(lab: Lab) -> None:
    path = f"webhooks/app/{fresh()}"
    made = settings("redis").model_copy(update={"login": path})
    sender: Any = open_consumer("app", made, lab.hub)
    with pytest.raises(NotFound, match=f"{path}: the login that consumer app is notified by is not there"):
        sender.send(None, 1)
    lab.keep(path, {"username": "app"})
    with pytest.raises(Invalid, match="lacks a field"):
        sender.send(None, 1)
