"""The offline file: its contents, expiry and refusals."""

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.client.client import SecretClient
from keyturn.client.host.group import HostGroup
from keyturn.client.machine import this_machine
from keyturn.client.offline.cache_file import OfflineCache
from keyturn.client.policy import RESTRICTED, CachePolicy
from keyturn.client.private_directory import PrivateDirectory
from keyturn.client.secrets import Secret
from keyturn.client.statistics import Event
from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, SECRET_ROTATED, Notice
from keyturn.core.ports.envelope import Refusal
from keyturn.providers.files.data_keys import FileDataKeys
from keyturn.providers.keys.aes_gcm import AesEnvelope
from tests.support.hooks import eventually
from tests.support.offline import POLICY, Host, add_generation
from tests.support.served import MADE, MemorySource

DAY = 86_400


@pytest.fixture(autouse=True)
def _debuggable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process runs on."""
    monkeypatch.setattr("keyturn.client.offline.cache_file.guard_memory", lambda: None)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=1, b=1)


def rotated(path: str, version: int, event: str = SECRET_ROTATED) -> Notice:
    return Notice(event, path, version, MADE)


def lived(host: Host, source: MemorySource, *paths: str, **settings: object) -> None:
    """A process has read these, and has ended."""
    with host.client(source, host.offline(), **settings) as client:
        for path in paths:
            client.get(path)


@contextmanager
def outage(host: Host, source: MemorySource, **settings: object) -> Iterator[tuple[SecretClient, OfflineCache]]:
    """A process that begins while no source answers."""
    away, source.away = source.away, True
    offline = host.offline()
    with host.client(source, offline, **settings) as client:
        yield client, offline
    source.away = away


def refused(client: SecretClient, offline: OfflineCache, refusal: Refusal) -> None:
    """Nothing is given, and it is said why, once."""
    for _ in range(2):
        with pytest.raises(Unavailable):
            client.get("a")
    assert offline.refusals == {refusal: 1}
    assert client.statistics[Event.REFUSED] == 1


def test_a_process_that_begins_in_an_outage_gives_what_the_one_before_has_read(
    host: Host, source: MemorySource
) -> None:
    lived(host, source, "a", "b")
    host.pass_by(1000)
    with outage(host, source) as (client, offline):
        secret = client.get("a")
        assert (secret.version, secret.stale, secret.source) == (1, True, "hub")
        assert client.get_json("b") == {"password": "b-1"}
        assert client.statistics[Event.OFFLINE] == 1
        with pytest.raises(Unavailable):
            client.get("c")
        assert not offline.refusals


def test_a_day_without_the_hub_over_restarts_fails_no_read_and_ends_at_the_limit(
    host: Host, source: MemorySource
) -> None:
    lived(host, source, "a", "b")
    with host.client(source, host.offline()) as client:
        client.told(rotated("b", 1, SECRET_REVOKED))
    source.away = True
    for process in range(8):
        if process % 2:
            host.restart(0)
        with host.client(source, host.offline()) as client:
            for _ in range(6):
                host.pass_by(1800)
                client.tend()
                assert client.get("a").version == 1
                with pytest.raises(Unavailable):
                    client.get("b")
    host.pass_by(3601)
    with host.client(source, host.offline()) as client, pytest.raises(Unavailable):
        client.get("a")


def test_what_is_new_comes_within_one_poll_of_the_hubs_return(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    source.away = True
    with SecretClient([source], policy=POLICY, offline=host.offline(), poll=0.05) as client:
        assert client.get("a").version == 1
        source.served["a"], source.away = 2, False
        assert eventually(lambda: client.get("a").version == 2)
        assert not client.get("a").stale


def test_sources_are_asked_first_and_what_is_read_takes_the_files_place(host: Host, source: MemorySource) -> None:
    lived(host, source, "a", "b")
    source.served["a"] = 2
    with host.client(source, host.offline()) as client:
        assert client.get("a").version == 2
    with outage(host, source) as (client, _):
        assert client.get("a").version == 2
        assert client.get("b").version == 1


def test_what_may_not_be_given_in_an_outage_is_never_written(host: Host, source: MemorySource) -> None:
    policies = {"b": RESTRICTED, "c": CachePolicy(ttl=0)}
    source.served["c"] = 1
    lived(host, source, "a", "b", "c", policies=policies)
    assert in_clear(host).keys() == {"a"}
    with outage(host, source) as (client, _), pytest.raises(Unavailable):
        client.get("b")


def test_the_policy_of_today_counts_not_that_of_the_day_it_was_written(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    with outage(host, source, policy=RESTRICTED) as (client, _), pytest.raises(Unavailable):
        client.get("a")


def test_what_is_gone_or_may_not_be_read_any_more_leaves_the_file(host: Host, source: MemorySource) -> None:
    lived(host, source, "a", "b")
    del source.served["a"]
    with host.client(source, host.offline()) as client, pytest.raises(NotFound):
        client.get("a")
    assert in_clear(host).keys() == {"b"}


def test_a_refused_login_is_no_outage(host: Host, source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    lived(host, source, "a")

    def deny(path: str) -> Secret:
        raise Denied("read", path, "the hub denies it")

    monkeypatch.setattr(source, "read", deny)
    with host.client(source, host.offline()) as client, pytest.raises(Denied):
        client.get("a")


@pytest.mark.parametrize("event", [SECRET_ROTATED, SECRET_REVOKED])
def test_what_a_notice_has_ended_is_given_by_no_later_process(host: Host, source: MemorySource, event: str) -> None:
    lived(host, source, "a", "b")
    source.away = True
    offline = host.offline()
    client = host.client(source, offline)
    with pytest.raises(Unavailable):
        client.get("c")
    assert client.get("a").version == 1
    with pytest.raises(Unavailable):
        client.told(rotated("a", 2, event))
    # As by a kill: nothing is written, nothing closed.
    with outage(host, source) as (later, _):
        with pytest.raises(Unavailable):
            later.get("a")
        assert later.get("b").version == 1


def test_a_notice_is_kept_while_the_key_is_away(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")

    def away() -> AesEnvelope:
        raise Unavailable("use", "the KMS", "it does not answer")

    with host.client(source, host.offline(away)) as client:
        client.told(rotated("a", 1, SECRET_REVOKED))
    with outage(host, source) as (client, _), pytest.raises(Unavailable):
        client.get("a")


def test_a_promised_version_is_insisted_on_after_a_restart_for_as_long_as_before(
    host: Host, source: MemorySource
) -> None:
    with host.client(source, host.offline()) as client:
        client.told(rotated("a", 2))
    host.restart(POLICY.floor_ttl / 2)
    with host.client(source, host.offline()) as client, pytest.raises(Unavailable, match="a newer one was"):
        client.get("a")
    host.restart(POLICY.floor_ttl / 2 + 1)
    with host.client(source, host.offline()) as client:
        assert client.get("a").version == 1


def test_a_newer_version_that_was_read_after_a_notice_is_in_the_file(host: Host, source: MemorySource) -> None:
    with host.client(source, host.offline()) as client:
        client.get("a")
        source.served["a"] = 2
        client.told(rotated("a", 2))
    with outage(host, source) as (client, _):
        assert client.get("a").version == 2


def test_an_older_notice_that_comes_again_ends_nothing_newer(host: Host, source: MemorySource) -> None:
    source.served["a"] = 3
    with host.client(source, host.offline()) as client:
        client.get("a")
        client.told(rotated("a", 3))
    with host.client(source, host.offline()) as client:
        client.told(rotated("a", 2))
    with outage(host, source) as (client, _):
        assert client.get("a").version == 3


def test_processes_share_a_file_and_a_notice(host: Host, source: MemorySource) -> None:
    here, there = host.offline(), host.offline()
    with host.client(source, here) as first, host.client(source, there) as second:
        first.get("a")
        second.get("a")
        second.get("b")
        assert here.flush()
        assert there.flush()
        source.served["a"] = 2
        first.told(rotated("a", 2))
        second.refresh("b")
        assert there.flush()
        assert second.get("a").version == 2
    with outage(host, source) as (client, _):
        assert client.get("a").version == 2
        assert client.get("b").version == 1


def test_a_notice_that_another_process_of_the_group_was_told_is_noted_here_too(
    host: Host, source: MemorySource, tmp_path: Path
) -> None:
    lived(host, source, "a")
    group = HostGroup("trainer", tmp_path, check=0.02)
    with (
        host.client(source, host.offline(), host=group) as client,
        SecretClient([source], poll=0, patience=0, host=group) as without_file,
    ):
        client.get("b")
        without_file.get("b")
        del source.served["a"]
        without_file.told(replace(rotated("a", 1, SECRET_REVOKED), replaced=False))
        # As by a kill: nothing is written and nothing closed.
        with outage(host, source) as (later, _), pytest.raises(Unavailable):
            later.get("a")


def test_a_lagging_process_puts_no_older_version_into_the_file(host: Host, source: MemorySource) -> None:
    lagging = MemorySource("copy", a=1)
    source.served["a"] = 2
    lived(host, source, "a")
    lived(host, lagging, "a")
    with outage(host, source) as (client, _):
        assert client.get("a").version == 2


def test_a_file_of_an_older_generation_of_the_key_opens_and_is_sealed_with_the_newest(
    host: Host, source: MemorySource
) -> None:
    lived(host, source, "a")
    before = sealed_with(host)
    add_generation(host.key_file)
    with outage(host, source) as (client, offline):
        assert client.get("a").version == 1
        assert offline.flush()
    assert sealed_with(host) != before
    host.key_file.write_text(host.key_file.read_text().splitlines()[1])
    with outage(host, source) as (client, _):
        assert client.get("a").version == 1


def test_a_file_whose_key_is_gone_is_refused_and_replaced(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    host.key_file.unlink()
    add_generation(host.key_file)
    with outage(host, source) as (client, offline):
        refused(client, offline, Refusal.KEYLESS)
    lived(host, source, "a")
    with outage(host, source) as (client, _):
        assert client.get("a").version == 1


def test_a_key_that_is_away_when_it_is_to_be_opened_is_tried_again(
    host: Host, source: MemorySource, caplog: pytest.LogCaptureFixture
) -> None:
    lived(host, source, "a")
    away = [True]

    def envelope() -> AesEnvelope:
        if away[0]:
            raise Unavailable("use", "the KMS", "it does not answer")
        return AesEnvelope(FileDataKeys(host.key_file))

    source.away = True
    with host.client(source, host.offline(envelope)) as client:
        for _ in range(3):
            with pytest.raises(Unavailable):
                client.get("a")
        assert caplog.text.count("the KMS: it does not answer") == 1
        away[0] = False
        host.pass_by(61)
        assert client.get("a").version == 1


@pytest.mark.attack
def test_a_clock_that_was_set_back_gives_nothing_longer(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    host.pass_by(POLICY.ttl + POLICY.resurrect_ttl + 10)
    host.set_clock(-POLICY.resurrect_ttl)
    with outage(host, source) as (client, _), pytest.raises(Unavailable):
        client.get("a")


def test_a_clock_that_stands_before_the_file_was_written_refuses_it(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    host.set_clock(-3600)
    with outage(host, source) as (client, offline):
        refused(client, offline, Refusal.CLOCK)


def test_a_clock_that_was_set_back_over_a_boot_shows_by_what_was_noted_of_it(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    host.pass_by(DAY)
    with outage(host, source) as (client, _):
        client.get("a")
    host.restart()
    host.set_clock(-DAY + 3600)
    with outage(host, source) as (client, offline):
        refused(client, offline, Refusal.CLOCK)
    lived(host, source, "a")
    with outage(host, source) as (client, _):
        assert client.get("a").version == 1


def test_a_clock_that_was_set_a_little_back_as_by_ntp_changes_nothing(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    host.set_clock(-30)
    with outage(host, source) as (client, _):
        assert client.get("a").version == 1


def test_a_kept_secret_holds_no_longer_than_its_limit_after_it_was_adopted(host: Host, source: MemorySource) -> None:
    lived(host, source, "a")
    host.pass_by(DAY)
    with outage(host, source) as (client, _):
        assert client.get("a").version == 1
        host.pass_by(POLICY.ttl + 1)
        client.tend()
        with pytest.raises(Unavailable):
            client.get("a")


def test_where_nothing_can_be_written_it_is_said_once_and_the_client_goes_on(
    host: Host, source: MemorySource, caplog: pytest.LogCaptureFixture
) -> None:
    host.cache.touch()
    offline = host.offline()
    with host.client(source, offline) as client:
        for path in ("a", "b"):
            assert client.get(path).version == 1
            assert not offline.flush()
        client.told(rotated("a", 1))
        assert client.get("a").version == 1
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) <= 3
    assert all(str(host.cache) in warning for warning in warnings)


def test_a_directory_that_others_may_write_to_is_not_used(
    host: Host, source: MemorySource, caplog: pytest.LogCaptureFixture
) -> None:
    lived(host, source, "a")
    host.cache.chmod(0o770)
    with outage(host, source) as (client, _), pytest.raises(Unavailable):
        client.get("a")
    assert "its mode lets others read or write it" in caplog.text
    host.cache.chmod(0o700)
    host.file.chmod(0o644)
    with outage(host, source) as (client, _), pytest.raises(Unavailable):
        client.get("a")


def test_a_notice_that_can_be_kept_nowhere_is_not_acknowledged_while_the_file_is_there(
    host: Host, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(host, source, "a")
    with host.client(source, host.offline()) as client:
        host.cache.chmod(0o500)
        fail_to_write(monkeypatch, "append", "replace", "remove")
        with pytest.raises(Unavailable, match="it can't be kept over a restart"):
            client.told(rotated("a", 1, SECRET_REVOKED))
        monkeypatch.undo()
        host.cache.chmod(0o700)


@pytest.mark.attack
def test_if_a_notice_can_not_be_saved_the_offline_file_is_removed(
    host: Host, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(host, source, "a")
    beside = host.offline()
    with host.client(source, beside) as other, host.client(source, host.offline()) as client:
        other.get("a")
        fail_to_write(monkeypatch, "append", "replace")
        client.told(rotated("a", 1, SECRET_REVOKED))
        assert not host.file.exists()
        monkeypatch.undo()
        monkeypatch.setattr("keyturn.client.offline.cache_file.guard_memory", lambda: None)
        assert beside.flush()
    with outage(host, source) as (client, _), pytest.raises(Unavailable):
        client.get("a")


def fail_to_write(monkeypatch: pytest.MonkeyPatch, *methods: str) -> None:
    """The disk refuses these, whoever asks; a test may run as root."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for method in methods:
        monkeypatch.setattr(PrivateDirectory, method, fail)


def test_reads_are_written_together_in_the_background(host: Host, source: MemorySource) -> None:
    source.served |= {f"s{number}": 1 for number in range(100)}
    with host.client(source, host.offline(delay=0.2)) as client:
        for number in range(100):
            client.get(f"s{number}")
        assert eventually(lambda: len(in_clear(host)) == 100)
        assert generation(host) <= 3


def test_only_so_much_is_written_and_the_newest_first(host: Host, source: MemorySource) -> None:
    with host.client(source, host.offline(max_bytes=20)) as client:
        client.get("a")
        host.pass_by(1)
        client.get("b")
    assert in_clear(host).keys() == {"b"}


def test_a_forked_child_writes_by_itself(host: Host) -> None:
    offline = host.offline()
    with SecretClient(lambda: [MemorySource(a=1, b=1)], policy=POLICY, poll=0, offline=offline) as client:
        client.get("a")
        pid = os.fork()
        if pid == 0:
            try:
                client.get("b")
                os._exit(0 if offline.flush() else 1)
            finally:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
        assert in_clear(host).keys() == {"b"}
    assert in_clear(host).keys() == {"a", "b"}


def test_many_threads_find_the_file_opened_once(host: Host, source: MemorySource) -> None:
    lived(host, source, "a", "b")
    opened: list[int] = []

    def envelope() -> AesEnvelope:
        opened.append(1)
        return AesEnvelope(FileDataKeys(host.key_file))

    source.away = True
    with host.client(source, host.offline(envelope)) as client:
        threads = [threading.Thread(target=client.get, args=("a",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.get("a").version == 1
    assert len(opened) == 1


def test_this_machine_is_told_by_an_id_that_tells_nothing_else() -> None:
    machine = this_machine()
    assert machine == machine
    assert machine.host == this_machine().host != this_machine("node-7").host
    assert len(machine.host) == 32
    assert machine.now() > 1_700_000_000
    assert machine.elapsed() >= 0


def in_clear(host: Host) -> dict[str, dict[str, object]]:
    """What is in the file, by path."""
    offline = host.offline()
    if not host.file.exists():
        return {}
    opened = AesEnvelope(FileDataKeys(host.key_file)).open(host.file.read_bytes(), offline._context)
    return {entry["path"]: entry for entry in json.loads(opened.reveal())["secrets"]}


def generation(host: Host) -> int:
    opened = AesEnvelope(FileDataKeys(host.key_file)).open(host.file.read_bytes(), host.offline()._context)
    return int(json.loads(opened.reveal())["generation"])


def sealed_with(host: Host) -> str:
    """Which generation of the key has wrapped the file's own."""
    header = json.loads(host.file.read_bytes().partition(b"\n")[0].removeprefix(b"keyturn-sealed-1 "))
    return str(header["wrapped"]).partition(":")[0]


def test_two_clients_of_a_process_have_one_each(host: Host, source: MemorySource) -> None:
    offline = host.offline()
    with host.client(source, offline), pytest.raises(Invalid, match="Give each its own"):
        host.client(source, offline)
    with host.client(source, offline) as client:
        assert client.get("a").version == 1


def test_a_child_that_was_forked_in_the_middle_of_a_write_keeps_no_lock(host: Host) -> None:
    offline = host.offline()
    with SecretClient(lambda: [MemorySource(a=1)], policy=POLICY, poll=0, offline=offline) as client:
        client.get("a")
        with offline._directory.locked("secrets.lock"):
            pid = os.fork()
            if pid == 0:
                threading.Event().wait(30)
                os._exit(0)
        try:
            assert offline.flush()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
