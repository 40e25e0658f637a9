"""Processes that share reads on a host: who may join, and which answers are trusted."""

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest

from keyturn.client.client import SecretClient
from keyturn.client.host import member
from keyturn.client.host.group import HostGroup
from keyturn.client.host.wire import LIMIT, Gone, receive, send
from keyturn.client.secrets import secret_data
from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from tests.support.served import MADE, MemorySource, secret

CHECK = 0.01
FOREVER = 1e12


@pytest.fixture
def group(tmp_path: Path) -> HostGroup:
    return HostGroup("trainer", tmp_path, patience=5, check=CHECK)


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=1)


@pytest.fixture
def client(group: HostGroup, source: MemorySource) -> Iterator[SecretClient]:
    with SecretClient([source], poll=0, patience=0, host=group) as client:
        yield client


def rotated(version: int) -> Notice:
    return Notice(SECRET_ROTATED, "a", version, MADE)


def test_a_directory_that_is_open_to_others_is_not_joined(group: HostGroup, client: SecretClient) -> None:
    group.place.mkdir(0o700)
    group.place.chmod(0o750)
    with pytest.raises(Denied, match="is another user's, or open to others"):
        client.get("a")


def test_a_link_in_its_place_is_not_followed(group: HostGroup, client: SecretClient, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(0o700)
    group.place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Denied, match="is no directory of this user"):
        client.get("a")
    assert [*(tmp_path / "elsewhere").iterdir()] == []


@pytest.mark.parametrize("made", [True, False])
def test_a_directory_of_another_user_is_not_joined(
    group: HostGroup, client: SecretClient, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    if made:
        group.place.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Denied, match="another user's"):
        client.get("a")


def test_others_see_nothing_of_it(group: HostGroup, client: SecretClient) -> None:
    client.told(rotated(1))
    assert stat.S_IMODE(group.place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in group.place.iterdir() if file.is_file()} == {0o600}


def test_a_process_of_another_user_gets_no_answer(
    group: HostGroup, client: SecretClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("a")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with connection_to(group) as connection, pytest.raises(Gone):
        ask(connection)


def test_tampered_shared_state_is_reported(group: HostGroup, client: SecretClient, source: MemorySource) -> None:
    client.told(rotated(1))
    (group.place / "promises.json").write_text('{"a": "never"}')
    with SecretClient([source], poll=0, host=group) as late, pytest.raises(Invalid, match="it was changed"):
        late.get("a")
    with pytest.raises(Invalid, match="it was changed"):
        client.told(rotated(2))


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 64,
        (LIMIT + 1).to_bytes(4) + b"{}",
        b"\0\0\0\2[]",
        b"\0\0\0\2{}",
        b"\0\0\0\x0e" + b'{"ask":"give"}',
        b"\0\0\0\x0e" + b'{"ask":"hear"}',
        b"",
    ],
)
def test_a_malformed_question_is_ignored(
    group: HostGroup, client: SecretClient, source: MemorySource, sent: bytes
) -> None:
    client.get("a")
    with connection_to(group) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass
    with SecretClient([source], poll=0, patience=0, host=group) as other:
        source.served["a"] = 2
        other.told(rotated(2))
    assert client.get("a").version == 2


def test_an_older_answer_of_the_reading_process_is_not_accepted(
    group: HostGroup, client: SecretClient, source: MemorySource
) -> None:
    with leading(group, lambda: {"secrets": [secret_data(secret("a", 1)), secret_data(secret("b", 9))]}):
        source.served["a"] = 2
        with pytest.raises(Unavailable, match="1 of its processes did not take the notice"):
            client.told(rotated(2))
        assert client.get("a").version == 2
        assert client.kept("b") is None


@pytest.mark.parametrize("answer", [{}, {"secrets": 1}, {"secrets": [{}]}, {"secrets": ["a"]}])
def test_a_process_with_a_wrong_answer_is_not_asked_for_some_time(
    group: HostGroup, client: SecretClient, source: MemorySource, answer: Any
) -> None:
    with leading(group, lambda: answer):
        assert client.get("a").version == 1
    assert source.reads == ["a"]


def test_if_the_reading_process_ends_the_next_one_takes_over(
    group: HostGroup, client: SecretClient, source: MemorySource
) -> None:
    def end() -> Any:
        leader.close()
        raise Gone

    with leading(group, end) as leader:
        assert client.get("a").version == 1
        with SecretClient([source], poll=0, host=group) as other:
            assert other.get("a").version == 1
    assert source.reads == ["a"]


def test_a_process_that_does_not_answer_delays_others_only_briefly(
    group: HostGroup, client: SecretClient, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "TAKE_PATIENCE", 0.05)
    silent = threading.Event()
    with leading(group, lambda: silent.wait(30) and {}):
        assert client.get("a").version == 1
        silent.set()


def ask(connection: socket.socket) -> Any:
    send(connection, {"ask": "give", "wanted": {"a": "2020-01-01T00:00:00+00:00"}, "notices": []})
    return receive(connection, FOREVER)


@contextmanager
def connection_to(group: HostGroup) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(next(group.place.glob("*.sock"))))
        yield connection


@contextmanager
def leading(group: HostGroup, answer: Callable[[], Any]) -> Iterator[IO[str]]:
    """A process of the same user that says it reads for all, and answers so; what is given says that it does."""
    import fcntl

    group.place.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as listener, (group.place / "leader").open("w") as leader:
        fcntl.flock(leader, fcntl.LOCK_EX)
        leader.write("liar.sock")
        leader.flush()
        os.chmod(group.place / "leader", 0o600)
        listener.bind(str(group.place / "liar.sock"))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(Gone):
                    receive(connection, FOREVER)
                    send(connection, answer())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield leader
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_the_forged_answers_of_these_tests_are_well_formed() -> None:
    assert json.loads(json.dumps(secret_data(secret("a", 1))))["fields"] == {"password": "a-1"}
