"""The client over sources in memory: many threads, notices, outages, forks."""

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keyturn.client import keeper
from keyturn.client.asynchronous import AsyncSecretClient
from keyturn.client.client import SecretClient
from keyturn.client.policy import RESTRICTED, CachePolicy
from keyturn.client.secrets import Secret
from keyturn.client.statistics import Event
from keyturn.core.errors import Invalid, KeyturnError, NotFound, Unavailable, Unproven
from keyturn.core.notifications.notices import SECRET_REVOKED, SECRET_ROTATED, Notice
from tests.support.hooks import eventually
from tests.support.served import MADE, Clock, MemorySource

THREADS = 200


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=1, b=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(source: MemorySource, clock: Clock) -> Iterator[SecretClient]:
    with SecretClient([source], poll=0, patience=0, clock=clock) as client:
        yield client


def rotated(path: str, version: int, event: str = SECRET_ROTATED) -> Notice:
    return Notice(event, path, version, MADE)


def test_a_secret_is_read_once_and_then_given_from_memory(client: SecretClient, source: MemorySource) -> None:
    assert [client.get("a").version for _ in range(100)] == [1] * 100
    assert client.get_json("a") == {"password": "a-1"}
    assert client.field("a", "password").reveal() == "a-1"
    assert source.reads == ["a"]
    assert client.statistics[Event.MISS] == 1


def test_a_field_that_is_not_there_is_named(client: SecretClient) -> None:
    with pytest.raises(NotFound, match="it has no field user"):
        client.field("a", "user")


def test_however_many_miss_at_once_it_is_read_once(client: SecretClient, source: MemorySource) -> None:
    source.gate.clear()
    waiting = threading.Barrier(THREADS + 1)

    def ask() -> int | None:
        waiting.wait()
        return client.get("a").version

    with ThreadPoolExecutor(THREADS) as pool:
        asked = [pool.submit(ask) for _ in range(THREADS)]
        waiting.wait()
        eventually(lambda: client.statistics[Event.MISS] == THREADS)
        source.gate.set()
        assert {each.result() for each in asked} == {1}
    assert source.reads == ["a"]


def test_a_miss_that_another_thread_has_filled_meanwhile_reads_nothing(
    client: SecretClient, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = client._reader.oldest

    def filled_meanwhile(path: str) -> datetime:
        monkeypatch.undo()
        assert client.get("a").version == 1
        return oldest(path)

    monkeypatch.setattr(client._reader, "oldest", filled_meanwhile)
    assert client.get("a").version == 1
    assert source.reads == ["a"]


def test_what_is_not_there_is_asked_for_once_in_a_while(
    client: SecretClient, source: MemorySource, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            client.get("none")
    assert source.reads == ["none"]
    clock.now += 6
    source.served["none"] = 1
    assert client.get("none").version == 1


def test_after_a_notice_nothing_older_is_given(client: SecretClient, source: MemorySource) -> None:
    client.get("a")
    source.served["a"] = 2
    client.told(rotated("a", 2))
    assert client.get("a").version == 2
    assert source.reads == ["a", "a"]


def test_a_notice_of_what_is_not_in_use_reads_nothing(client: SecretClient, source: MemorySource) -> None:
    client.told(rotated("b", 2))
    assert source.reads == []


def test_a_read_that_was_under_way_when_the_notice_came_is_not_believed(
    client: SecretClient, source: MemorySource
) -> None:
    client.get("b")
    source.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(client.get, "a")
        assert eventually(lambda: "a" in source.reads)
        source.served["a"] = 2
        client.told(rotated("a", 2))
        after = pool.submit(client.get, "a")
        assert eventually(lambda: source.reads.count("a") == 2)
        source.gate.set()
        assert after.result().version == 2
        assert before.result().version == 2
    assert client.get("a").version == 2


def test_a_source_that_lags_behind_a_notice_is_waited_for(source: MemorySource) -> None:
    with SecretClient([source], poll=0, patience=30) as client:
        client.get("a")
        threading.Timer(0.2, lambda: source.served.update(a=2)).start()
        client.told(rotated("a", 2))
        assert client.get("a").version == 2


def test_a_copy_that_is_being_written_is_read_until_it_tells_its_version(source: MemorySource) -> None:
    with SecretClient([source], poll=0, patience=30) as client:
        client.get("a")
        read, source.served["a"] = source.read, 2
        between = iter([replace(read("a"), version=None, revision="2")])
        source.read = lambda path: next(between, None) or read(path)  # type: ignore[method-assign]
        client.told(rotated("a", 2))
        assert client.get("a").version == 2


def test_where_it_lags_on_the_notice_fails_and_nothing_old_is_given(client: SecretClient) -> None:
    client.get("a")
    with pytest.raises(Unavailable, match="a newer one was seen or promised"):
        client.told(rotated("a", 2))
    with pytest.raises(Unavailable):
        client.get("a")


def test_a_notice_that_comes_again_is_not_acknowledged_while_the_source_still_lags(
    client: SecretClient, source: MemorySource
) -> None:
    client.get("a")
    for notice in (rotated("a", 2), rotated("a", 2), rotated("a", 3)):
        with pytest.raises(Unavailable, match="a newer one was seen or promised"):
            client.told(notice)
    source.served["a"] = 3
    client.told(rotated("a", 3))
    source.away = True
    assert client.get("a").version == 3


def test_what_is_written_after_a_revocation_is_read_before_that_is_acknowledged(
    client: SecretClient, source: MemorySource
) -> None:
    client.get("a")
    client.told(replace(rotated("a", 1, SECRET_REVOKED), replaced=False))
    source.served["a"] = 2
    client.told(rotated("a", 2))
    source.away = True
    assert client.get("a").version == 2


class Versionless(MemorySource):
    """Tells its own marks alone, as a store does whose copy somebody else has written."""

    def _answer(self, path: str) -> Secret:
        return replace(super()._answer(path), version=None, made_at=None)


@pytest.mark.attack
def test_a_value_without_a_version_read_before_its_notice_is_returned(clock: Clock) -> None:
    copies = Versionless("copies", a=6)
    with SecretClient([copies], poll=0, patience=0, clock=clock) as client:
        client.get("a")
        notice = replace(rotated("a", 7), timestamp=datetime.now(UTC))
        copies.served["a"] = 7
        client.refresh("a")
        for each in (notice, notice, rotated("a", 6), replace(notice, event=SECRET_REVOKED)):
            client.told(each)
            assert client.get("a").revision == "7"
        remade = replace(rotated("a", 1), timestamp=datetime.now(UTC))
        assert raises(Unavailable, lambda: client.told(remade))


def test_what_tells_no_version_is_taken_as_it_is_once_it_was_waited_for(clock: Clock) -> None:
    copies = Versionless("copies", a=6)
    with SecretClient([copies], poll=0, patience=0, clock=clock) as client:
        client.get("a")
        notice = replace(rotated("a", 7), timestamp=datetime.now(UTC))
        for earlier in (notice, rotated("a", 6)):
            with pytest.raises(Unavailable, match="a newer one was seen or promised"):
                client.told(earlier)
        clock.now += 1
        client.told(notice)
        assert client.get("a").revision == "6"


def test_a_revoked_secret_is_gone_even_while_no_source_answers(client: SecretClient, source: MemorySource) -> None:
    client.get("a")
    source.away = True
    with pytest.raises(Unavailable):
        client.told(rotated("a", 1, SECRET_REVOKED))
    with pytest.raises(Unavailable):
        client.get("a")
    source.away = False
    del source.served["a"]


def test_a_revoked_secret_that_nothing_replaces_is_absent(client: SecretClient, source: MemorySource) -> None:
    client.get("a")
    del source.served["a"]
    client.told(rotated("a", 1, SECRET_REVOKED))
    with pytest.raises(NotFound):
        client.get("a")


def test_a_copy_that_still_serves_what_was_revoked_for_good_is_not_believed_and_nobody_waits_for_it(
    client: SecretClient, source: MemorySource
) -> None:
    client.watch("a", lambda secret: None)
    client.told(Notice(SECRET_REVOKED, "a", 1, MADE, replaced=False))
    assert client.in_force(Notice(SECRET_REVOKED, "a", 1, MADE, replaced=False)) is None
    with pytest.raises(Unavailable, match="still serves version 1"):
        client.get("a")
    with pytest.raises(Unavailable):
        client.get_many(["a", "b"])
    source.served["a"] = 2
    assert client.refresh("a").version == 2


def test_an_older_version_that_was_revoked_for_good_takes_nothing_from_the_newer_one(
    client: SecretClient, source: MemorySource
) -> None:
    source.served["a"] = 3
    client.get("a")
    client.told(Notice(SECRET_REVOKED, "a", 2, MADE, replaced=False))
    assert client.get("a").version == 3


@pytest.mark.attack
def test_an_unverified_server_can_not_clear_the_cache(source: MemorySource, clock: Clock) -> None:
    def answer(path: str) -> Secret:
        raise Unproven("read", path, "the hub's certificate is not trusted", "Set VAULT_CACERT")

    with SecretClient([source], policy=CachePolicy(ttl=100), poll=0, clock=clock) as client:
        client.get("a")
        source.read = answer  # type: ignore[method-assign]
        clock.now += 200
        client.tend()
        assert client.get("a").stale
        with pytest.raises(Unavailable, match="read b: the hub's certificate is not trusted"):
            client.get("b")
    with SecretClient([source, MemorySource("copies", a=1)], poll=0) as client:
        assert client.get("a").source == "copies"


def test_an_outage_is_lived_through_up_to_the_policys_limit(source: MemorySource, clock: Clock) -> None:
    policy = CachePolicy(ttl=100, jitter=0, resurrect_ttl=86_400, retry_after=10)
    with SecretClient([source], policy=policy, policies={"b*": RESTRICTED}, poll=0, clock=clock) as client:
        client.warm(["a", "b"])
        source.away = True
        for _ in range(80):
            clock.now += 1000
            client.tend()
            assert client.get("a").version == 1
        assert client.get("a").stale
        with pytest.raises(Unavailable):
            client.get("b")
        source.away = False
        source.served["a"] = 2
        clock.now += 100
        client.tend()
        assert eventually(lambda: client.get("a").version == 2)
        assert not client.get("a").stale
        clock.now += 90_000
        source.away = True
        client.tend()
        with pytest.raises(Unavailable):
            client.get("a")


@pytest.mark.attack
def test_values_that_expired_while_the_machine_slept_are_dropped(
    source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, real = 0.0, time.clock_gettime
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: real(clock) + (slept if clock == time.CLOCK_BOOTTIME else 0)
    )
    monkeypatch.setattr(keeper, "LONGEST_SLEEP", 0.02)
    with SecretClient([source], policy=CachePolicy(ttl=3600), poll=0) as client:
        client.get("a")
        assert client.kept("a")
        slept = 3601
        assert eventually(lambda: client.kept("a") is None)
        source.served["a"] = 2
        assert client.get("a").version == 2


def test_what_could_not_be_read_ahead_is_stale_once_it_was_due(source: MemorySource, clock: Clock) -> None:
    policy = CachePolicy(ttl=100, jitter=0, retry_after=50)
    with SecretClient([source], policy=policy, poll=0, clock=clock) as client:
        client.get("a")
        source.away = True
        clock.now += 90
        client.tend()
        assert not client.get("a").stale
        assert eventually(lambda: client._cache._entries["a"].retry_at > 0)
        clock.now += 11
        client.tend()
        assert client.get("a").stale
        assert len(source.reads) == 2


def test_what_is_kept_stays_where_it_was_to_be_read_anew_and_nobody_answers(
    client: SecretClient, source: MemorySource, clock: Clock
) -> None:
    client.get("a")
    source.away = True
    with pytest.raises(Unavailable):
        client.refresh("a")
    assert client.get("a").version == 1
    source.away, source.served["a"] = False, 2
    clock.now += 2
    assert client.refresh("a").version == 2
    assert client.get("a").version == 2


def test_that_it_was_absent_before_a_notice_is_not_believed_behind_it(
    client: SecretClient, source: MemorySource
) -> None:
    gone = threading.Event()

    def absent_at_first(path: str) -> Secret:
        if path == "new" and not gone.is_set():
            gone.set()
            source.served["new"] = 1
            client.told(rotated("new", 1))
            raise NotFound("read", "hub:new", "there is none")
        return read(path)

    read, source.read = source.read, absent_at_first  # type: ignore[method-assign]
    assert client.get("new").version == 1


def test_the_next_source_is_asked_where_one_is_away_and_the_first_again_later(clock: Clock) -> None:
    hub, copy = MemorySource("hub", a=1, b=1, c=1), MemorySource("aws", a=1, b=1, c=1)
    with SecretClient([hub, copy], poll=0, clock=clock) as client:
        hub.away = True
        assert client.get("a").source == "aws"
        assert client.get("b").source == "aws"
        assert hub.reads == ["a"]
        hub.away = False
        clock.now += 2
        assert client.get("c").source == "hub"


def test_that_the_first_source_knows_of_none_is_an_answer() -> None:
    hub, copy = MemorySource("hub"), MemorySource("aws", a=1)
    with SecretClient([hub, copy], poll=0) as client, pytest.raises(NotFound, match="hub:a"):
        client.get("a")


def test_a_copy_that_lags_behind_what_was_seen_is_not_given(clock: Clock) -> None:
    hub, copy = MemorySource("hub", a=5), MemorySource("aws", a=4)
    with SecretClient([hub, copy], policy=RESTRICTED, poll=0, clock=clock) as client:
        client.get("a")
        hub.away = True
        clock.now += 3600
        client.tend()
        with pytest.raises(Unavailable):
            client.get("a")


def test_many_are_read_in_one_call_and_one_that_is_missing_takes_nothing_from_others(
    client: SecretClient, source: MemorySource
) -> None:
    source.served |= {f"s{number}": number + 1 for number in range(50)}
    read = client.get_many(f"s{number}" for number in range(50))
    assert [secret.version for secret in read.values()] == [*range(1, 51)]
    assert (source.bulk_reads, source.reads) == (1, [])
    with pytest.raises(NotFound, match="hub:none"):
        client.warm(["none", "a", "b"])
    assert client.get_many(["a", "b"]).keys() == {"a", "b"}
    assert source.reads == ["none"]


def test_what_a_bulk_call_does_not_give_is_read_side_by_side_and_all_of_it_before_an_error_is_raised(
    client: SecretClient, source: MemorySource
) -> None:
    source.read_many = lambda paths: {}  # type: ignore[method-assign]
    source.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.get_many, ["none", "a", "b"])
        assert eventually(lambda: {"a", "b"} <= set(source.reads))
        source.gate.set()
        with pytest.raises(NotFound, match="hub:none"):
            reading.result()
    assert client.kept("a")
    assert client.kept("b")


def test_all_that_fits_a_pattern_is_warmed(client: SecretClient, source: MemorySource) -> None:
    source.served |= dict.fromkeys(["ml/a", "ml/b", "ml/c/d", "payments/e/f", "other"], 1)
    client.warm(["ml/*", "payments/**", "other"])
    assert {path for path in source.served if client.kept(path)} == {"ml/a", "ml/b", "payments/e/f", "other"}
    assert (source.bulk_reads, source.reads) == (1, [])


@pytest.mark.parametrize("pattern", ["ml/x**", "*:ml/*"])
def test_a_pattern_that_means_nothing_here_is_refused(client: SecretClient, pattern: str) -> None:
    with pytest.raises(Invalid, match=re.escape(pattern)):
        client.warm([pattern])


def test_more_than_is_kept_is_not_warmed(source: MemorySource) -> None:
    source.served |= {f"ml/{number}": 1 for number in range(6)}
    with SecretClient([source], poll=0, max_entries=5) as client, pytest.raises(Invalid, match="it is 6 secrets"):
        client.warm(["ml/*"])
    assert source.bulk_reads == 0


def test_a_pattern_is_listed_by_the_next_source_that_can() -> None:
    hub, copy = MemorySource("hub", a=1), MemorySource("copy", a=1)
    copies = Copies(copy)
    with SecretClient([copies], poll=0) as client, pytest.raises(Invalid, match="can list: copy"):
        client.warm(["*"])
    with SecretClient([copies, hub], poll=0) as client:
        client.warm(["*"])
        assert client.get("a").source == "copy"
    hub.away = True
    with SecretClient([copies, hub], poll=0) as client, pytest.raises(Unavailable, match="hub"):
        client.warm(["*"])


class Copies:
    """A source that can't list what there is."""

    def __init__(self, source: MemorySource) -> None:
        self.name = source.name
        self.read, self.read_many, self.versions = source.read, source.read_many, source.versions


def test_how_its_sources_answer_is_told(clock: Clock) -> None:
    hub, copy = MemorySource("hub", a=1, b=1), MemorySource("aws", a=1, b=1)
    with SecretClient([hub, copy], poll=0, clock=clock) as client:
        assert client.health == {}
        hub.away = True
        client.get("a")
        assert {name: type(error) for name, error in client.health.items()} == {"hub": Unavailable, "aws": type(None)}
        hub.away = False
        clock.now += 2
        client.get("b")
        assert client.health == {"hub": None, "aws": None}


def test_who_watches_hears_of_each_version_once(client: SecretClient, source: MemorySource) -> None:
    heard: list[int | None] = []
    stop = client.watch("a", lambda secret: heard.append(secret.version))
    source.served["a"] = 2
    client.told(rotated("a", 2))
    client.refresh("a")
    assert heard == [2]
    stop()
    source.served["a"] = 3
    client.told(rotated("a", 3))
    assert heard == [2]


def test_who_watches_what_nobody_asks_for_any_more_hears_of_its_next_version(source: MemorySource) -> None:
    heard: list[int | None] = []
    policy = CachePolicy(ttl=0.05, jitter=0, resurrect_ttl=0)
    with SecretClient([source], policy=policy, poll=0.05) as client:
        client.watch("a", lambda secret: heard.append(secret.version))
        assert eventually(lambda: client.kept("a") is None)
        source.served["a"] = 2
        assert eventually(lambda: heard == [2])


def test_what_a_watching_function_raises_is_logged_without_its_text(
    client: SecretClient, source: MemorySource, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(secret: Secret) -> None:
        raise ValueError(secret["password"].reveal())

    client.watch("a", fail)
    source.served["a"] = 2
    client.told(rotated("a", 2))
    assert "ValueError" in caplog.text
    assert "a-2" not in caplog.text


def test_a_version_that_no_notice_told_of_is_found_by_asking(source: MemorySource) -> None:
    with SecretClient([source], poll=0.05) as client:
        client.get("a")
        source.served["a"] = 2
        assert eventually(lambda: client.get("a").version == 2)


def test_what_was_removed_is_found_by_asking_too(source: MemorySource) -> None:
    with SecretClient([source], poll=0.05) as client:
        client.get("a")
        del source.served["a"]
        assert eventually(lambda: raises(NotFound, lambda: client.get("a")))


def test_what_is_asked_for_all_the_time_is_read_again_before_it_is_old(source: MemorySource, clock: Clock) -> None:
    with SecretClient([source], policy=CachePolicy(ttl=100, jitter=0), poll=0, clock=clock) as client:
        client.get("a")
        clock.now += 81
        client.tend()
        client.get("a")
        assert eventually(lambda: source.reads == ["a", "a"])
        assert client.statistics[Event.RENEWAL] == 1


def test_the_first_policy_that_fits_holds(source: MemorySource) -> None:
    deep, own, flat, later = (CachePolicy(ttl=seconds) for seconds in (1, 2, 3, 4))
    policies = {"a/**": deep, "b/own": own, "b/*": flat, "a/own": later}
    with SecretClient([source], policies=policies, poll=0) as client:
        of = {path: client.policy_of(path).ttl for path in ("a/own", "a/b/c", "b/own", "b/c", "b/c/d")}
    assert of == {"a/own": 1, "a/b/c": 1, "b/own": 2, "b/c": 3, "b/c/d": 3600}


def test_a_forked_child_reads_anew_where_it_can_open_its_sources() -> None:
    with SecretClient(lambda: [MemorySource(a=os.getpid())], poll=0) as client:
        client.get("a")
        assert in_a_child(lambda: client.get("a").version == os.getpid())


def test_a_forked_child_does_not_use_connections_that_its_parent_uses(client: SecretClient) -> None:
    client.get("a")
    assert in_a_child(lambda: raises(Invalid, lambda: client.get("a")))
    assert client.get("a").version == 1


def test_a_client_that_was_closed_gives_nothing(source: MemorySource) -> None:
    client = SecretClient([source], poll=0)
    client.get("a")
    client.close()
    with pytest.raises(Invalid, match="was closed"):
        client.get("a")


def test_nothing_shows_a_value(client: SecretClient) -> None:
    assert "a-1" not in repr(client.get("a"))
    assert "a-1" not in repr(client.get_many(["a"]))


def test_asyncio_gets_the_same(client: SecretClient, source: MemorySource) -> None:
    async def ask() -> list[int | None]:
        asynchronous = AsyncSecretClient(client)
        several = await asyncio.gather(*(asynchronous.get("a") for _ in range(50)))
        await asynchronous.warm(["b"])
        source.served["a"] = 2
        await asynchronous.told(rotated("a", 2))
        assert (await asynchronous.field("a", "password")).reveal() == "a-2"
        assert await asynchronous.get_json("b") == {"password": "b-1"}
        return [secret.version for secret in (*several, await asynchronous.get("a"))]

    assert asyncio.run(ask()) == [*[1] * 50, 2]
    assert source.reads.count("a") == 2


def raises(kind: type[KeyturnError], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


def in_a_child(check: Callable[[], bool]) -> bool:
    """Whether it holds in a process that is forked from this one."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0
