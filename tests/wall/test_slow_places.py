"""Servers without HTTP and held file locks can't block Keyturn without end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.core.errors import Invalid, Locked, Unavailable, Unproven
from keyturn.core.notifications.channel import Announcement
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.ledger.forwarding import Message
from keyturn.providers.apprise_channel import AppriseChannel
from keyturn.providers.files.store import Files
from keyturn.providers.ledger.collectors import collectors
from keyturn.providers.ledger.syslog import Syslog
from keyturn.providers.mysql.target import MySQL
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.providers.redis.target import Redis
from tests.contracts.store import fresh_value, marks_for
from tests.ledger.entries import entry
from tests.support.clients import WAIT
from tests.support.liar import Liar, answers_in_turn, dripping, drips_headers, redirects_to

pytestmark = pytest.mark.sampled(4, of="file")

HOST = "127.0.0.1"
SERVICES = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
"""Of Apprise's services one still asks for it."""
ADMIN = SecretFields({"username": "admin", "password": "pw"})
GREETING = b"\xff\xff\xff\x00"
"""The head of a packet of 16 MB, as MySQL's greeting has one (source: "MySQL Packets")."""

DEMAND = b"NR\x00\x00\x04\x00"
"""No TLS, and the head of a demand for a login, as PostgreSQL has one (source: "Message Formats")."""


def log_in_to_redis(port: int) -> object:
    return Redis("redis", host=HOST, port=port, tls=False, admin=lambda: ADMIN).accepts("app", Sensitive("pw"))


def log_in_to_mysql(port: int) -> object:
    target = MySQL("mysql", host=HOST, port=port, database="app", tls="disable", admin=lambda: ADMIN)
    return target.accepts("app", Sensitive("pw"))


def log_in_to_postgresql(port: int) -> object:
    return PostgreSQL("pg", host=HOST, port=port, database="app", admin=lambda: ADMIN).accepts("a", Sensitive("b"))


@pytest.mark.parametrize(
    ("log_in", "greeting"),
    [(log_in_to_redis, b""), (log_in_to_mysql, GREETING), (log_in_to_postgresql, DEMAND)],
)
def test_a_slow_database_is_given_up(
    log_in: Callable[[int], object], greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.providers.redis.node.LONGEST_SESSION", WAIT)
    monkeypatch.setattr("keyturn.providers.mysql.server.TIMEOUT", 1)
    monkeypatch.setattr("keyturn.providers.postgresql.target.TIMEOUT", 2)  # libpq's least
    with dripping(greeting) as port, pytest.raises(Unavailable):
        log_in(port)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_slow_collector_is_given_up(scheme: str) -> None:
    # What drips is no TLS: who answers there is unproven.
    error = Unproven if scheme == "tls" else Unavailable
    with dripping() as port, pytest.raises(error, match=rf"nothing within {WAIT} s|no TLS"):
        Syslog(f"{scheme}://{HOST}:{port}", timeout=WAIT).deliver("ledger", [Message(1, entry(), "{}")])


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("KEYTURN_FORWARD_SYSLOG", "tcp://logs.example.com:514"),
        ("KEYTURN_FORWARD_SYSLOG", "udp://192.0.2.7:514"),
        ("KEYTURN_FORWARD_HTTP", "http://logs.example.com/in"),
    ],
)
def test_entries_leave_the_machine_unencrypted_only_if_configured(variable: str, address: str) -> None:
    allowed = f"{variable}_INSECURE{'_HTTP' if variable.endswith('HTTP') else ''}"
    with pytest.raises(Invalid, match=rf"{allowed}=true"):
        collectors({variable: address})
    assert len(collectors({variable: address, allowed: "true"})) == 1
    assert len(collectors({variable: address.replace("logs.example.com", HOST).replace("192.0.2.7", HOST)})) == 1


@contextmanager
def suspended_writer(file: Path) -> Iterator[int]:
    """A process that holds the lock of a file and is stopped, as a laptop's debugger or a full host leaves one."""
    script = "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], 66), 2); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        yield process.pid
        process.kill()


def test_a_suspended_holder_of_a_file_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.providers.files.directory.PATIENCE", WAIT)
    store, value = Files("files", directory=str(tmp_path)), fresh_value()
    with suspended_writer(tmp_path / ".app.keyturn.new") as pid:
        with pytest.raises(Locked, match=rf"files:app: process {pid} \(python.*which is stopped, holds its draft"):
            store.write("app", value, marks_for(value), None)
        assert not (tmp_path / "app").exists()
    assert store.write("app", value, marks_for(value), None).marks == marks_for(value)


@SERVICES
def test_the_failure_channel_is_not_waited_for_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.providers.apprise_channel.LONGEST", WAIT)
    with Liar(drips_headers) as server, pytest.raises(Unavailable, match=f"within {WAIT} s"):
        AppriseChannel(lambda: Sensitive(f"json://{HOST}:{server.port}/token")).send(Announcement("i", "s", "b"))


@SERVICES
@pytest.mark.parametrize("address", ["token", "token?redirect=yes"])
def test_the_failure_channel_follows_no_redirect(address: str) -> None:
    with Liar(answers_in_turn(lambda *_: {})) as elsewhere, Liar(redirects_to(elsewhere.url)) as server:
        channel = AppriseChannel(lambda: Sensitive(f"json://{HOST}:{server.port}/{address}"))
        with pytest.raises(Unavailable):
            channel.send(Announcement("i", "s", "b"))
        assert server.requests
        assert elsewhere.requests == []
