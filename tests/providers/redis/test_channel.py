"""Telling consumers by a channel of a real Redis, and listening to it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Unavailable, Unproven
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers import reading
from keyturn.providers.deliver_notices import sign_notice
from keyturn.providers.redis import channel as channels
from keyturn.providers.redis.channel import RedisChannel, RedisReader
from local.redis import Redis
from local.support.ports import free_port
from tests.support.acl import Acl
from tests.support.hooks import eventually
from tests.support.lab import fresh

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))


class Channel:
    """A channel, a user who may publish there and one who may listen, and neither anything else."""

    def __init__(self, acl: Acl) -> None:
        self.acl, self.name = acl, f"notices-{fresh()}"
        self.publisher = acl.user(f"-@all +publish resetchannels &{self.name}")
        self.listener = acl.user(f"-@all +subscribe resetchannels &{self.name}")
        self.notices: list[Notice] = []
        self.looked = 0
        self.broken = 0

    def sender(self, login: SecretFields | None = None) -> RedisChannel:
        server = self.acl.server
        return RedisChannel(
            "trainer", host=server.host, port=server.port, tls=False, channel=self.name,
            login=lambda: login or self.publisher,
        )  # fmt: skip

    def send(self, login: SecretFields | None = None) -> None:
        self.sender(login).send(sign_notice([KEY], NOTICE, f"msg_{fresh()}", "trainer"), 5)

    @contextmanager
    def listening(self, *, listens: bool = True) -> Iterator[RedisReader]:
        """An application that listens, as long as the block lasts."""
        receiver, server = Receiver([KEY]), self.acl.server
        reader = RedisReader(
            self.name, lambda text: receiver.handle_message(text, self.take), host=server.host, port=server.port,
            tls=False, login=lambda: self.listener, missed=self.look,
        )  # fmt: skip

        before, thread = self.looked, threading.Thread(target=reader.run)
        thread.start()
        assert not listens or eventually(lambda: self.looked > before)
        yield reader
        reader.stop()
        thread.join(10)
        assert not thread.is_alive()

    def allow(self) -> None:
        """Give both users what they need, and their passwords."""
        for login, verb in ((self.publisher, "+publish"), (self.listener, "+subscribe")):
            self.acl.ask(
                "ACL SETUSER", login["username"].reveal(), f">{login['password'].reveal()}", verb, f"&{self.name}"
            )

    def look(self) -> None:
        self.looked += 1

    def take(self, told: Notice) -> None:
        if self.broken:
            self.broken -= 1
            raise ConnectionError
        self.notices.append(told)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "PAUSE", 0.005)
    for pause in ("IDLE", "PAUSE", "LASTING"):
        monkeypatch.setattr(reading, pause, 0.02)
    monkeypatch.setattr(channels, "WAIT", 0.05)


@pytest.fixture
def channel(redis: Redis) -> Channel:
    return Channel(Acl(redis))


def test_who_listens_is_told(channel: Channel) -> None:
    with channel.listening():
        channel.send()
        assert eventually(lambda: channel.notices == [NOTICE])


def test_where_nobody_listens_nobody_was_told(channel: Channel) -> None:
    with pytest.raises(Unavailable, match="no one listens") as caught:
        channel.send()
    assert caught.value.hint


def test_what_the_application_can_not_take_is_given_to_it_again(channel: Channel) -> None:
    channel.broken = 2
    with channel.listening():
        channel.send()
        assert eventually(lambda: channel.notices == [NOTICE])


def test_what_the_application_can_never_take_is_let_go_of_and_said(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    channel.broken = channels.TRIES
    with channel.listening():
        channel.send()
        assert eventually(lambda: "could not be taken" in caplog.text)
        channel.send()
        assert eventually(lambda: channel.notices == [NOTICE])


def test_who_was_cut_off_listens_again_and_looks_at_what_was_missed(channel: Channel) -> None:
    with channel.listening():
        channel.acl.ask("CLIENT KILL", "USER", channel.listener["username"].reveal())
        assert eventually(lambda: channel.looked == 2)
        channel.send()
        assert eventually(lambda: channel.notices == [NOTICE])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda acl, user: acl.ask("ACL SETUSER", user, "resetpass", ">another"), "refuses the login"),
        (lambda acl, user: acl.ask("ACL SETUSER", user, "-@all"), "forbids it"),
        (lambda acl, user: acl.ask("ACL SETUSER", user, "resetchannels"), "forbids it"),
    ],
)
def test_who_may_not_is_told_what_to_allow_and_goes_on_once_it_is_allowed(
    channel: Channel, change: Callable[[Acl, str], object], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    for login in (channel.publisher, channel.listener):
        change(channel.acl, login["username"].reveal())
    with channel.listening(listens=False):
        assert eventually(lambda: words in caplog.text)
        with pytest.raises(Denied, match=words) as caught:
            channel.send()
        assert caught.value.hint
        assert channel.publisher["password"].reveal() not in repr(caught.value) + caplog.text
        channel.allow()
        assert eventually(lambda: channel.looked)
        channel.send()
        assert eventually(lambda: channel.notices == [NOTICE])


def test_a_server_that_is_away_is_unavailable() -> None:
    sender = RedisChannel(
        "trainer", host="127.0.0.1", port=free_port(), tls=False, channel="c",
        login=lambda: SecretFields({"username": "a", "password": "b"}),
    )  # fmt: skip
    with pytest.raises(Unavailable, match="does not answer"):
        sender.send(sign_notice([KEY], NOTICE, "msg_1", "trainer"), 1)


def test_over_tls_the_certificate_is_checked(tmp_path: Path) -> None:
    with Redis(tmp_path / "redis", free_port(), tls=True) as server:
        acl = Acl(server)
        name, login = f"notices-{fresh()}", acl.user("-@all +publish allchannels")
        settings: dict[str, Any] = {"host": server.host, "port": server.port, "channel": name, "login": lambda: login}
        message = sign_notice([KEY], NOTICE, "msg_1", "trainer")
        with pytest.raises(Unavailable, match="no one listens"):
            RedisChannel("trainer", ca_file=str(server.authority), **settings).send(message, 5)
        with pytest.raises(Unproven, match="certificate is not trusted"):
            RedisChannel("trainer", **settings).send(message, 5)
