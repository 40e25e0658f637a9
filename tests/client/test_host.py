"""Client processes on one host share notices and reads."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from keyturn.client.client import SecretClient
from keyturn.client.host.group import HostGroup
from keyturn.client.policy import CachePolicy
from keyturn.client.pool import SecretPool
from keyturn.client.statistics import Event
from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, SECRET_ROTATED, Notice
from tests.client.test_client import Clock, Versionless, raises
from tests.client.test_pool import Database, Refused
from tests.support.hooks import eventually
from tests.support.served import MADE, MemorySource

CHECK = 0.01
"""Seconds between two looks at the directory; a young one is waited for for two and a half of them."""


@pytest.fixture
def group(tmp_path: Path) -> HostGroup:
    return HostGroup("trainer", tmp_path, patience=10, check=CHECK)


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=1, b=1, c=1)


@pytest.fixture
def join(group: HostGroup, source: MemorySource) -> Iterator[Callable[..., SecretClient]]:
    """Another process of the group, as far as the others can tell."""
    with ExitStack() as stack:
        yield lambda *sources, **settings: stack.enter_context(
            SecretClient(sources or [source], **{"poll": 0, "patience": 0, "host": group, **settings})
        )


Join = Callable[..., SecretClient]


def rotated(path: str, version: int, event: str = SECRET_ROTATED) -> Notice:
    return Notice(event, path, version, MADE)


def sockets(group: HostGroup) -> list[str]:
    return sorted(name for name in os.listdir(group.place) if name.endswith(".sock"))


def test_what_one_is_told_none_gives_the_old_one_any_more(join: Join, source: MemorySource) -> None:
    clients = [join() for _ in range(5)]
    assert {client.get("a").version for client in clients} == {1}
    source.served["a"] = 2
    clients[3].told(rotated("a", 2))
    source.away = True
    assert [client.get("a").version for client in clients] == [2] * 5
    assert source.reads == ["a"] * 2


def test_a_notice_of_what_nobody_uses_reads_nothing(join: Join, source: MemorySource) -> None:
    told, other = join(), join()
    other.get("b")
    told.told(rotated("a", 2))
    assert source.reads == ["b"]
    assert other.statistics[Event.NOTICE] == 1


def test_what_is_revoked_is_gone_from_all_even_while_no_source_answers(join: Join, source: MemorySource) -> None:
    clock = Clock()
    one, other = join(clock=clock), join(clock=clock)
    one.get("a"), other.get("a")
    source.away = True
    with pytest.raises(Unavailable):
        one.told(rotated("a", 1, SECRET_REVOKED))
    for client in (one, other):
        with pytest.raises(Unavailable):
            client.get("a")
    source.away = False
    clock.now += 2
    del source.served["a"]
    one.told(rotated("a", 1, SECRET_REVOKED))
    for client in (one, other):
        with pytest.raises(NotFound):
            client.get("a")


def test_where_the_source_of_another_lags_the_notice_fails_and_nothing_old_is_given(
    join: Join, source: MemorySource
) -> None:
    lagging = MemorySource("copy", a=1)
    behind, told = join(lagging), join()
    behind.get("a")
    source.served["a"] = 2
    with pytest.raises(Unavailable, match="a newer one was seen or promised"):
        told.told(rotated("a", 2))
    with pytest.raises(Unavailable):
        behind.get("a")
    lagging.served["a"] = 2
    told.told(rotated("a", 2))
    assert behind.get("a").version == 2


def test_many_that_begin_at_once_read_once(join: Join, source: MemorySource) -> None:
    clients = [join() for _ in range(50)]
    source.gate.clear()
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(client.get, "a") for client in clients]
        assert eventually(lambda: source.reads)
        source.gate.set()
        assert {each.result().version for each in asked} == {1}
    assert source.reads == ["a"]
    source.served["a"] = 2
    clients[7].told(rotated("a", 2))
    assert {client.get("a").version for client in clients} == {2}
    assert source.reads == ["a"] * 2
    assert sum(client.statistics[Event.SHARED] for client in clients) == 98


def test_many_secrets_are_taken_in_one_question(join: Join, source: MemorySource) -> None:
    first, second = join(), join()
    first.warm(["a", "b"])
    source.away = True
    assert {path: secret.version for path, secret in second.get_many(["a", "b"]).items()} == {"a": 1, "b": 1}
    source.away = False
    assert join().get_many(["a", "b", "c"]).keys() == {"a", "b", "c"}
    assert (source.bulk_reads, source.reads) == (1, ["c"])


def test_what_is_taken_is_as_old_as_it_was_there_and_not_older_than_it_may_be(join: Join, source: MemorySource) -> None:
    clock = Clock()
    first = join(clock=clock)
    old = first.get("a")
    object.__setattr__(old, "read_at", old.read_at - timedelta(seconds=60))
    policy = CachePolicy(ttl=100, jitter=0, resurrect_ttl=0)
    second = join(clock=clock, policy=policy)
    assert second.get("a").read_at == old.read_at
    clock.now += 41
    second.tend()
    assert second.kept("a") is None
    assert source.reads == ["a"]
    join(policy=CachePolicy(ttl=50)).get("a")
    assert source.reads == ["a", "a"]


def test_what_is_read_anew_is_taken_from_nobody(join: Join, source: MemorySource) -> None:
    first, second = join(), join()
    first.get("a"), second.get("a")
    source.served["a"] = 2
    assert second.refresh("a").version == 2
    assert first.get("a").version == 2


def test_what_tells_no_version_is_taken_from_nobody(join: Join, source: MemorySource) -> None:
    read = source.read
    source.read = lambda path: replace(read(path), version=None)  # type: ignore[method-assign]
    assert join().get("a").version is None
    assert join().get("a").version is None
    assert source.reads == ["a", "a"]


def test_what_tells_no_version_holds_no_notice_up_for_good(join: Join) -> None:
    copies = Versionless("copies", a=6)
    told, other = join(copies, patience=0.05), join(copies, patience=0.05)
    told.get("a"), other.get("a")
    notice = replace(rotated("a", 7), timestamp=datetime.now(UTC))
    with pytest.raises(Unavailable):
        told.told(notice)
    told.told(notice)
    assert (told.get("a").revision, other.get("a").revision) == ("6", "6")


@pytest.mark.attack
def test_a_process_started_after_a_notice_knows_it(join: Join, group: HostGroup) -> None:
    join(MemorySource(a=2)).told(rotated("a", 2))
    with pytest.raises(Unavailable, match="a newer one was seen or promised"):
        join(MemorySource("copy", a=1)).get("a")
    assert "a-2" not in "".join(file.read_text() for file in group.place.iterdir() if file.is_file())


def test_an_older_notice_brings_back_nothing_that_was_revoked_for_good(join: Join) -> None:
    member = join(MemorySource(a=1))
    member.told(replace(rotated("a", 1, SECRET_REVOKED), timestamp=MADE + timedelta(hours=1), replaced=False))
    member.told(rotated("a", 1))
    with pytest.raises(Unavailable, match="a newer one was seen or promised"):
        join(MemorySource("copy", a=1)).get("a")


def test_where_no_thread_can_begin_a_question_is_answered_all_the_same(
    join: Join, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, other = join(), join()
    told.get("a"), other.get("a")
    source.served["a"] = 2

    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(Thread, "start", refuse)
        told.told(rotated("a", 2))
    assert other.get("a").version == 2


def test_who_has_left_is_no_obstacle_and_the_next_one_reads_for_all(join: Join, source: MemorySource) -> None:
    first, second, third = join(), join(), join()
    first.get("a")
    first.close()
    assert second.get("a").version == 1
    source.served["a"] = 2
    third.told(rotated("a", 2))
    assert (second.get("a").version, third.get("a").version) == (2, 2)
    assert source.reads == ["a", "a", "a"]


def test_a_pool_of_another_process_lends_the_new_version_or_the_notice_is_not_acknowledged(
    join: Join, source: MemorySource
) -> None:
    database = Database("a-1")
    told, other = join(), join()
    with closing(SecretPool(other, "a", database.connect, refused=(Refused,), patience=0)) as pool:
        source.served["a"] = 2
        with pytest.raises(Unavailable, match="Refused"):
            told.told(rotated("a", 2))
        database.password = "a-2"
        told.told(rotated("a", 2))
        assert {session.password for session in database.sessions if not session.closed} == {"a-2"}
        assert pool.replaced == 1


def test_what_an_application_does_with_a_notice_it_does_with_those_of_others(join: Join, source: MemorySource) -> None:
    versions: list[int] = []
    first, other = join(), join()
    other.get("b")
    stop = other.hear(lambda notice: versions.append(notice.version))
    first.told(rotated("a", 2))
    stop()
    first.told(rotated("a", 3))
    assert versions == [2]


def test_another_host_that_was_not_told_finds_out_by_its_poll(join: Join, source: MemorySource, tmp_path: Path) -> None:
    elsewhere = HostGroup("trainer", tmp_path / "other", check=CHECK)
    told = join()
    others = [join(host=elsewhere, poll=0.05) for _ in range(2)]
    for client in (told, *others):
        client.get("a")
    source.served["a"] = 2
    told.told(rotated("a", 2))
    assert eventually(lambda: {client.get("a").version for client in others} == {2})


def test_the_directory_may_go_while_they_run(join: Join, source: MemorySource, tmp_path: Path) -> None:
    group = HostGroup("removed", tmp_path, check=0.2)
    clients = [join(host=group) for _ in range(3)]
    for client in clients:
        client.get("a")
    shutil.rmtree(group.place)
    source.served["a"] = 2
    clients[1].told(rotated("a", 2))
    assert [client.get("a").version for client in clients] == [2] * 3
    assert len(sockets(group)) == 3


def test_a_name_that_is_a_path_is_none() -> None:
    with pytest.raises(Invalid, match="its name is not one"):
        HostGroup("../other")


def test_without_a_directory_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(Invalid, match="XDG_RUNTIME_DIR is not set"):
        SecretClient([MemorySource()], host=HostGroup("trainer"))


@contextmanager
def process(client: SecretClient) -> Iterator[tuple[int, Callable[[str], Any]]]:
    """A child that is forked, and asks the client for what it is told to; its pid, and what asks it."""
    questions, answers = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            while path := os.read(questions[0], 1):
                os.write(answers[1], bytes([client.get(path.decode()).version or 0]))
        finally:
            os._exit(0)

    def ask(path: str) -> int:
        os.write(questions[1], path.encode())
        return os.read(answers[0], 1)[0]

    try:
        yield pid, ask
    finally:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for descriptor in (*questions, *answers):
            os.close(descriptor)


def test_a_process_that_lives_is_an_obstacle_and_one_that_is_killed_is_none(
    group: HostGroup, source: MemorySource
) -> None:
    impatient = HostGroup(group.name, group.directory, patience=0.8, check=CHECK)
    with SecretClient(lambda: [source], poll=0, patience=0, host=impatient) as client:
        client.get("a")
        with process(client) as (pid, ask), process(client) as (_, ask_another):
            assert (ask("a"), ask_another("a")) == (1, 1)
            assert len(sockets(group)) == 3
            client.told(rotated("a", 1))
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(Unavailable, match=rf": 1 of its .* \(process {pid} did not answer\)"):
                client.told(rotated("a", 1))
            os.kill(pid, signal.SIGCONT)
            client.told(rotated("a", 1))
            os.kill(pid, signal.SIGKILL)
            assert eventually(lambda: not raises(Unavailable, lambda: client.told(rotated("a", 1))))
            assert (ask_another("a"), len(sockets(group))) == (1, 2)


def test_a_child_that_was_forked_is_one_of_the_group_and_takes_nothing_from_its_parent(
    group: HostGroup, source: MemorySource
) -> None:
    with SecretClient(lambda: [source], poll=0, patience=0, host=group) as client:
        client.get("a")
        with process(client) as (_, ask):
            assert ask("a") == 1
            source.served["a"] = 2  # of the child's own source that is still the first
            client.told(rotated("a", 2))
            assert ask("a") == 2
