"""Forwarding to collectors that break off, refuse, and die: nothing is lost, and the order stays."""

import dataclasses
import json
import re
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn import __version__
from keyturn.core.errors import (
    Conflict,
    Denied,
    Invalid,
    KeyturnError,
    Rewritten,
    Throttled,
    Unavailable,
)
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.formats import Format
from keyturn.ledger.forwarding import BATCH, BATCH_SIZE, Collector, Forwarded, Message, forward
from keyturn.providers.ledger.address import open_ledger
from keyturn.providers.ledger.collectors import collectors
from keyturn.providers.ledger.http_collector import HttpCollector
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.providers.ledger.syslog import LARGEST_DATAGRAM, LARGEST_SEQUENCE, Syslog, message_of
from local.support.ports import LOOPBACK, free_port
from tests.ledger.entries import entries, entry
from tests.support.collectors import SyslogServer, break_off, read_all, say_goodbye, stop_reading
from tests.support.hooks import Hooked, Once
from tests.support.lab import Lab, fresh

MANY = 700
"""Entries of two batches; a batch is more than a loopback's buffers hold unread."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = open_ledger(str(tmp_path / "ledger.db"), origin=f"keyturn/{fresh()}")
    assert isinstance(opened, SqliteLedger)
    yield opened
    opened.close()


@pytest.fixture
def send(ledger: SqliteLedger, lab: Lab) -> Callable[[Collector], Forwarded]:
    """One run of the forwarding, which does not wait between its attempts."""
    return lambda collector: forward(ledger, lab.hub, collector, sleep=lambda _: None)


@pytest.fixture
def slept() -> list[float]:
    return []


def texts(ledger: SqliteLedger) -> list[str]:
    return [leaf.decode() for _, leaf in ledger.leaves()]


def told_once(received: Sequence[str]) -> list[str]:
    """What a collector keeps that drops what it has already, by the sequence number."""
    seen: dict[int, str] = {}
    for text in received:
        seen.setdefault(json.loads(text)["seq"], text)
    return list(seen.values())


# --- how far a collector is


class Recording:
    """A collector that takes all, or raises what it is given, one after the other."""

    def __init__(self, *errors: KeyturnError | None, name: str = "") -> None:
        self.name = name or f"recording/{fresh()}"
        self.form = Format.JSONL
        self.errors = list(errors)
        self.batches: list[list[Message]] = []

    def deliver(self, ledger: str, messages: Sequence[Message]) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        self.batches.append(list(messages))

    @property
    def sequences(self) -> list[int]:
        return [message.sequence for batch in self.batches for message in batch]


UNAVAILABLE = Unavailable("forward to", "it", "it is down")


def test_each_run_sends_what_is_new(ledger: SqliteLedger, send: Callable[[Collector], Forwarded]) -> None:
    collector = Recording()
    assert send(collector) == Forwarded(collector.name)
    ledger.append(entries(3))
    assert send(collector) == Forwarded(collector.name, sent=3)
    assert send(collector) == Forwarded(collector.name)
    ledger.append(entries(2, first=4))
    assert send(Recording(name=collector.name)).sent == 2
    assert collector.sequences == [1, 2, 3]
    first = collector.batches[0][0]
    assert first.entry == entry(1)
    assert parse_leaf(first.text.encode()).sequence == 1


def test_collectors_and_ledgers_have_places_of_their_own(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded], lab: Lab, tmp_path: Path
) -> None:
    ledger.append(entries(2))
    one, other = Recording(), Recording()
    assert (send(one).sent, send(other).sent) == (2, 2)
    another = open_ledger(str(tmp_path / "another.db"), origin=f"keyturn/{fresh()}")
    another.append(entries(5))
    assert forward(another, lab.hub, one).sent == 5
    another.close()


def test_batches_are_bounded_in_number_and_in_size(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append(entries(BATCH + 1))
    collector = Recording()
    send(collector)
    assert [len(batch) for batch in collector.batches] == [BATCH, 1]

    text = "x" * 1000
    long = dataclasses.replace(entry(), actor=text, secret=text, place=text, note=text, run=text, host=text)
    ledger.append([long] * 200)
    send(collector)
    assert len(collector.batches) > 4
    assert all(sum(len(one.text) for one in batch) <= BATCH_SIZE for batch in collector.batches)
    assert collector.sequences == list(range(1, BATCH + 202))


def test_what_may_pass_is_tried_again_with_pauses_and_then_left_to_the_next_run(
    ledger: SqliteLedger, lab: Lab, slept: list[float]
) -> None:
    ledger.append(entries(BATCH + 3))
    collector = Recording(None, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE)
    told = forward(ledger, lab.hub, collector, sleep=slept.append, jitter=lambda: 0.5)
    assert told == Forwarded(collector.name, BATCH, 3, entry(BATCH + 1).time, UNAVAILABLE)
    assert slept == [0.75, 3.0]
    assert forward(ledger, lab.hub, collector).sent == 3
    assert collector.sequences == list(range(1, BATCH + 4))


def test_a_pause_that_a_collector_asks_for_is_kept_unless_it_is_long(
    ledger: SqliteLedger, lab: Lab, slept: list[float]
) -> None:
    ledger.append(entries(1))
    soon, late = (Throttled("forward to", "it", "answered 429", retry_after=seconds) for seconds in (7.0, 300.0))
    assert forward(ledger, lab.hub, Recording(soon), sleep=slept.append).sent == 1
    assert slept == [7.0]
    told = forward(ledger, lab.hub, Recording(late), sleep=slept.append)
    assert (told.sent, told.waiting, told.error) == (0, 1, late)
    assert slept == [7.0]


def test_what_a_person_has_to_mend_is_not_tried_again(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append(entries(1))
    denied = Denied("forward to", "it", "answered 401")
    collector = Recording(denied)
    assert send(collector).error is denied
    assert collector.errors == []
    assert collector.batches == []


def test_entries_that_the_hub_does_not_remember_as_sent_are_sent_again(ledger: SqliteLedger, lab: Lab) -> None:
    ledger.append(entries(2))

    def fail() -> None:
        raise UNAVAILABLE

    collector = Recording()
    told = forward(ledger, Hooked(lab.hub, write_state=Once(fail)), collector)
    assert (told.sent, told.waiting, told.error) == (0, 2, UNAVAILABLE)
    assert forward(ledger, lab.hub, collector).sent == 2
    assert collector.sequences == [1, 2, 1, 2]


def test_of_two_who_send_at_the_same_time_one_gives_up_and_the_order_stays(ledger: SqliteLedger, lab: Lab) -> None:
    ledger.append(entries(BATCH * 2))
    other = Recording(name=f"recording/{fresh()}")
    mine = Recording(name=other.name)
    begin = Once(lambda: forward(ledger, lab.hub, other))
    told = forward(ledger, lab.hub, Hooked(mine, deliver=begin))
    assert isinstance(told.error, Conflict)
    assert told.sent == 0
    assert other.sequences == list(range(1, BATCH * 2 + 1))
    assert mine.sequences == list(range(1, BATCH + 1))
    assert forward(ledger, lab.hub, mine).sent == 0


def test_a_ledger_shorter_than_what_was_sent_is_found_out(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append(entries(3))
    collector = Recording()
    send(collector)
    tamper(ledger, "DELETE FROM entries WHERE sequence = 3")
    told = send(collector)
    assert isinstance(told.error, Rewritten)
    assert told.error.problem == f"3 entries were sent to {collector.name}, and it has only 2"


def tamper(ledger: SqliteLedger, statement: str) -> None:
    """Change the ledger's file as somebody would who means harm."""
    ledger.close()
    connection = sqlite3.connect(ledger._file)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE sequence = 4",
        "UPDATE entries SET entry = 'nonsense' WHERE sequence = 4",
        "UPDATE entries SET entry = x'ff' WHERE sequence = 4",
    ],
)
def test_nothing_is_sent_past_an_entry_that_is_none(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded], statement: str
) -> None:
    ledger.append(entries(6))
    tamper(ledger, statement)
    collector = Recording()
    told = send(collector)
    assert isinstance(told.error, Rewritten)
    assert (told.sent, told.waiting) == (3, 3)
    assert collector.sequences == [1, 2, 3]


# --- syslog


def over(server: SyslogServer, scheme: str = "tcp", **more: Any) -> Syslog:
    host = "localhost" if scheme == "tls" else LOOPBACK
    return Syslog(f"{scheme}://{host}:{server.port}", **more)


HEADER = re.compile(
    r"<(?P<priority>\d+)>1 (?P<time>\S+) (?P<host>\S+) keyturn (?P<run>\S+) (?P<action>\S+) "
    rf'\[meta sequenceId="(?P<sequence>\d+)"\]\[origin software="keyturn" swVersion="{re.escape(__version__)}"\] '
    r"(?P<text>.*)",
    re.DOTALL,
)


def taken_apart(message: bytes) -> dict[str, str]:
    found = HEADER.fullmatch(message.decode())
    assert found, message
    return found.groupdict()


def arrived(server: SyslogServer) -> list[str]:
    return [taken_apart(message)["text"] for message in server.messages]


def test_a_message_is_one_of_rfc_5424() -> None:
    one = dataclasses.replace(entry(7), action="revoke: push", outcome=Outcome.FAILED, host="a b\u00fc", run="")
    told = taken_apart(message_of(Message(7, one, "text \N{SNOWMAN}")))
    assert told == {
        "priority": str(13 * 8 + 2),
        "time": "2026-03-01T03:12:00.130456Z",
        "host": "a-b-",
        "run": "-",
        "action": "revoke:-push",
        "sequence": "7",
        "text": "text \N{SNOWMAN}",
    }
    again = Message(LARGEST_SEQUENCE + 1, Entry(datetime(2026, 3, 1, tzinfo=UTC), "", "x" * 50, Outcome.DONE), "")
    told = taken_apart(message_of(again))
    assert (told["sequence"], told["host"], told["action"], told["priority"]) == ("1", "-", "x" * 32, "110")


def test_all_arrives_at_a_syslog_collector_in_order(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append([*entries(MANY), dataclasses.replace(entry(), note="one\ntwo \N{SNOWMAN}")])
    with SyslogServer() as server:
        assert send(over(server)).sent == MANY + 1
    assert arrived(server) == texts(ledger)
    assert [int(taken_apart(one)["sequence"]) for one in server.messages] == list(range(1, MANY + 2))


@pytest.mark.parametrize("bytes_read", [0, 1, 5_000, 100_000, 270_000])
@pytest.mark.parametrize("behaviour", [break_off, say_goodbye])
def test_a_syslog_collector_that_breaks_off_gets_the_batch_again(
    ledger: SqliteLedger,
    send: Callable[[Collector], Forwarded],
    behaviour: Callable[[int], Callable[[socket.socket], bytes]],
    bytes_read: int,
) -> None:
    ledger.append(entries(MANY))
    with SyslogServer([behaviour(bytes_read)]) as server:
        assert send(over(server)).sent == MANY
    assert told_once(arrived(server)) == texts(ledger)
    assert len(server.received) == 3
    assert len(server.received[0]) == bytes_read


def test_a_syslog_collector_that_keeps_breaking_off_is_left_to_the_next_run(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append(entries(BATCH + MANY))
    with SyslogServer([read_all, *[break_off(50_000)] * 3]) as server:
        told = send(over(server))
        assert (told.sent, told.waiting, told.oldest) == (BATCH, MANY, entry(BATCH + 1).time)
        assert isinstance(told.error, Unavailable)
        assert told.error.problem == "the connection broke before everything was read"
        assert send(over(server)).sent == MANY
    assert told_once(arrived(server)) == texts(ledger)


def test_a_syslog_collector_that_stops_reading_has_not_got_it(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append(entries(20))
    over_now = threading.Event()
    with SyslogServer([stop_reading(over_now)]) as server:
        with pytest.raises(Unavailable, match=r"nothing within 0\.2 s"):
            over(server, timeout=0.2).deliver("keyturn/tests", [Message(1, entry(), "text")])
        over_now.set()
        assert send(over(server)).sent == 20


def test_where_no_syslog_collector_listens_it_says_so() -> None:
    collector = Syslog(f"tcp://{LOOPBACK}:{free_port()}")
    refused = rf"forward to syslog/tcp/{LOOPBACK}:\d+: it does not answer: the connection is refused"
    with pytest.raises(Unavailable, match=refused):
        collector.deliver("keyturn/tests", [Message(1, entry(), "text")])
    with pytest.raises(Unavailable, match="its name can't be resolved"):
        Syslog("tcp://nowhere.invalid:514", insecure=True).deliver("keyturn/tests", [Message(1, entry(), "text")])


@pytest.mark.parametrize(
    "address",
    ["tcp", "tcp://", "http://host:514", "tcp://host:514/path", "tcp://me@host:1", "tcp://host:0", "tcp://host:x",
     "tcp://host:514?a=b", "//host:514", ""],
)  # fmt: skip
def test_an_address_that_is_none_of_syslog_is_refused(address: str) -> None:
    with pytest.raises(Invalid, match="its address can't be used"):
        Syslog(address)


def test_ports_are_those_of_syslog() -> None:
    assert Syslog("tls://logs.example.com").name == "syslog/tls/logs.example.com:6514"
    assert Syslog("udp://logs.example.com/", insecure=True).name == "syslog/udp/logs.example.com:514"
    assert Syslog("tcp://[::1]:1514").name == "syslog/tcp/::1:1514"


# --- syslog over TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(made)
    return made


@pytest.mark.parametrize("politely", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_all_arrives_over_tls_whether_or_not_the_collector_says_its_own_end(
    ledger: SqliteLedger,
    send: Callable[[Collector], Forwarded],
    context: ssl.SSLContext,
    ca_file: str,
    politely: bool,
    version: ssl.TLSVersion,
) -> None:
    context.maximum_version = version
    ledger.append(entries(MANY))
    with SyslogServer(context=context, politely=politely) as server:
        assert send(over(server, "tls", ca_file=ca_file)).sent == MANY
    assert arrived(server) == texts(ledger)
    assert len(server.received) == 2


@pytest.mark.parametrize("bytes_read", [0, 5_000, 270_000])
def test_a_collector_that_breaks_off_over_tls_gets_the_batch_again(
    ledger: SqliteLedger,
    send: Callable[[Collector], Forwarded],
    context: ssl.SSLContext,
    ca_file: str,
    bytes_read: int,
) -> None:
    ledger.append(entries(MANY))
    with SyslogServer([break_off(bytes_read)], context, politely=False) as server:
        assert send(over(server, "tls", ca_file=ca_file)).sent == MANY
    assert told_once(arrived(server)) == texts(ledger)
    assert len(server.received) == 3
    assert len(server.received[0]) == bytes_read


def test_a_certificate_that_nobody_vouches_for_is_refused(context: ssl.SSLContext) -> None:
    with SyslogServer(context=context) as server, pytest.raises(Denied, match="its certificate is not trusted"):
        over(server, "tls").deliver("keyturn/tests", [Message(1, entry(), "text")])
    assert server.messages == []


def test_a_certificate_of_another_host_is_refused(context: ssl.SSLContext, ca_file: str) -> None:
    with SyslogServer(context=context) as server, pytest.raises(Denied, match="its certificate is for another name"):
        Syslog(f"tls://{LOOPBACK}:{server.port}", ca_file=ca_file).deliver("l", [Message(1, entry(), "text")])
    assert server.messages == []


def test_what_speaks_no_tls_is_no_tls_collector(ca_file: str) -> None:
    def answer(connection: socket.socket) -> bytes:
        connection.sendall(b"220 mail.example.com ESMTP\r\n")
        return b""

    with SyslogServer([answer]) as server, pytest.raises(Unavailable, match=r"no TLS could be agreed on|broke before"):
        over(server, "tls", ca_file=ca_file).deliver("keyturn/tests", [Message(1, entry(), "text")])


def test_an_authority_that_cant_be_read_is_named(context: ssl.SSLContext, tmp_path: Path) -> None:
    with SyslogServer(context=context) as server, pytest.raises(Invalid, match="KEYTURN_FORWARD_SYSLOG_CA_FILE"):
        over(server, "tls", ca_file=str(tmp_path / "none.pem")).deliver("l", [Message(1, entry(), "text")])


# --- syslog over UDP


def test_each_entry_is_a_datagram_over_udp_and_a_long_one_is_cut(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append(entries(3))
    with socket.socket(type=socket.SOCK_DGRAM) as listening:
        listening.bind((LOOPBACK, 0))
        listening.settimeout(10)
        collector = Syslog(f"udp://{LOOPBACK}:{listening.getsockname()[1]}")
        assert send(collector).sent == 3
        assert [taken_apart(listening.recv(65_536))["text"] for _ in range(3)] == texts(ledger)
        collector.deliver("keyturn/tests", [Message(1, entry(), "x" * 100_000)])
        assert len(listening.recv(100_000)) == LARGEST_DATAGRAM


# --- HTTP


class Taking:
    """What an HTTP collector has been sent, and what it answers in turn; 200 after the last."""

    def __init__(self, *statuses: int | Response) -> None:
        self.statuses = list(statuses)
        self.requests: list[Request] = []
        self.bodies: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.bodies.append(request.get_data(as_text=True))
        answer = self.statuses.pop(0) if self.statuses else 200
        return answer if isinstance(answer, Response) else Response("hunter2", answer)

    @property
    def lines(self) -> list[str]:
        return [line for body in self.bodies for line in body.split("\n")[:-1]]


def at(server: HTTPServer, taking: Taking) -> str:
    server.expect_request("/ingest", method="POST").respond_with_handler(taking)
    return server.url_for("/ingest")


def test_all_arrives_at_an_http_collector_in_order(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded], httpserver: HTTPServer
) -> None:
    ledger.append(entries(MANY))
    taking = Taking(200, 202)
    assert send(HttpCollector(at(httpserver, taking))).sent == MANY
    assert taking.lines == texts(ledger)
    first, second = taking.requests
    assert first.headers["content-type"] == "application/x-ndjson"
    assert first.headers["keyturn-ledger"] == ledger.origin
    assert "authorization" not in first.headers
    assert (first.headers["keyturn-sequences"], second.headers["keyturn-sequences"]) == ("1-500", f"501-{MANY}")


def test_a_collector_that_is_unavailable_gets_the_batch_again(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded], httpserver: HTTPServer
) -> None:
    ledger.append(entries(MANY))
    taking = Taking(503, 200, 500, 503)
    assert send(HttpCollector(at(httpserver, taking))).sent == MANY
    first, second = taking.bodies[0], taking.bodies[-1]
    assert taking.bodies == [first, first, second, second, second]
    assert told_once(taking.lines) == texts(ledger)


def test_a_collector_that_dies_after_it_has_received_gets_the_batch_again(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded]
) -> None:
    ledger.append(entries(3))

    def die(connection: socket.socket) -> bytes:
        told = b""
        while len(told.partition(b"\r\n\r\n")[2]) < body_length(told):
            told += connection.recv(65_536)
        return told

    def answer(connection: socket.socket) -> bytes:
        told = die(connection)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        return told

    with SyslogServer([die, answer]) as server:
        assert send(HttpCollector(f"http://{LOOPBACK}:{server.port}/")).sent == 3
    received = [told.partition(b"\r\n\r\n")[2].decode().split("\n")[:-1] for told in server.received]
    assert received == [texts(ledger)] * 2


def body_length(told: bytes) -> int:
    """What the request's own header says; at least one byte before that is known."""
    found = re.search(rb"(?i)content-length: (\d+)\r\n", told)
    return int(found[1]) if found and b"\r\n\r\n" in told else 1


def test_a_collector_that_stays_away_is_left_to_the_next_run(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded], httpserver: HTTPServer
) -> None:
    ledger.append(entries(2))
    collector = HttpCollector(at(httpserver, taking := Taking(503, 503, 503)))
    told = send(collector)
    assert (told.sent, told.waiting, told.oldest) == (0, 2, entry(1).time)
    assert isinstance(told.error, Unavailable)
    assert "hunter2" not in str(told.error)
    assert send(collector).sent == 2
    assert told_once(taking.lines) == texts(ledger)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, Denied, "KEYTURN_FORWARD_HTTP_TOKEN_FILE"),
        (403, Denied, "KEYTURN_FORWARD_HTTP_TOKEN_FILE"),
        (404, Invalid, "answered 404"),
        (413, Invalid, "answered 413"),
        (302, Invalid, "a redirect, which is not followed"),
        (408, Unavailable, "answered 408"),
        (429, Throttled, "slower pace"),
        (500, Unavailable, "answered 500"),
    ],
)
def test_every_other_status_is_no_acknowledgement(
    httpserver: HTTPServer, status: int, kind: type[KeyturnError], words: str
) -> None:
    taking = Taking(Response("hunter2", status, {"location": "/elsewhere"}))
    with pytest.raises(kind, match=re.escape(words)) as told:
        HttpCollector(at(httpserver, taking)).deliver("keyturn/tests", [Message(1, entry(), "text")])
    assert type(told.value) is kind
    assert "hunter2" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_token_is_read_for_each_batch_and_sent_as_the_collector_wants_it(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    collector = HttpCollector(at(httpserver, taking := Taking()), token_file=str(token))
    for text in ("one\n", "Splunk two\n"):
        token.write_text(text)
        collector.deliver("keyturn/tests", [Message(1, entry(), "text")])
    assert [request.headers["authorization"] for request in taking.requests] == ["Bearer one", "Splunk two"]
    for text in ("", " \n", "one\ntwo", "\N{SNOWMAN}"):
        token.write_text(text)
        with pytest.raises(Invalid, match="its token can't be read"):
            collector.deliver("keyturn/tests", [Message(1, entry(), "text")])
    token.unlink()
    with pytest.raises(Invalid, match="its token can't be read"):
        collector.deliver("keyturn/tests", [Message(1, entry(), "text")])
    assert len(taking.requests) == 2


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://logs.example.com/", "plain http to another machine"),
        ("http://localhost.example.com/", "plain http to another machine"),
        ("https://me:hunter2@logs.example.com/", "holds a user, a query or a fragment"),
        ("https://logs.example.com/?token=hunter2", "holds a user, a query or a fragment"),
        ("ftp://logs.example.com/", "not an https URL"),
        ("https:///hunter2", "not an https URL"),
        ("https://[hunter2/", "not an https URL"),
    ],
)
def test_an_address_that_may_not_be_used_is_refused_without_being_repeated(url: str, problem: str) -> None:
    with pytest.raises(Invalid, match=problem) as told:
        HttpCollector(url)
    assert "hunter2" not in str(told.value)


def test_a_collectors_path_is_not_shown_since_it_may_be_a_token() -> None:
    one, other = (HttpCollector(f"https://logs.example.com/{path}").name for path in ("hunter2", "other"))
    assert re.fullmatch(r"http\w*/logs\.example\.com:443/[0-9a-f]{8}", one)
    assert one != other
    assert HttpCollector("http://127.0.0.1:8088/").name == "http/127.0.0.1:8088"


def test_an_https_collector_is_checked_against_its_authority(
    authority: trustme.CA, ca_file: str, context: ssl.SSLContext, tmp_path: Path
) -> None:
    with HTTPServer("localhost", 0, ssl_context=context) as server:
        url = at(server, taking := Taking())
        HttpCollector(url, ca_file=ca_file).deliver("keyturn/tests", [Message(1, entry(), "text")])
        assert taking.lines == ["text"]
        with pytest.raises(Denied, match="its certificate is not trusted"):
            HttpCollector(url).deliver("keyturn/tests", [Message(1, entry(), "text")])
        with pytest.raises(Invalid, match="KEYTURN_FORWARD_HTTP_CA_FILE"):
            HttpCollector(url, ca_file=str(tmp_path / "none")).deliver("l", [Message(1, entry(), "text")])
    assert taking.lines == ["text"]


def test_a_collector_that_does_not_answer_in_time_has_not_got_it(ledger: SqliteLedger) -> None:
    over_now = threading.Event()
    with SyslogServer([stop_reading(over_now)]) as server:
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            HttpCollector(f"http://{LOOPBACK}:{server.port}/", timeout=0.2).deliver("l", [Message(1, entry(), "text")])
        over_now.set()


# --- what the environment names


def test_the_environment_names_the_collectors_and_their_formats(tmp_path: Path) -> None:
    assert collectors({}) == []
    assert collectors({"KEYTURN_FORWARD_SYSLOG": "", "KEYTURN_FORWARD_HTTP": ""}) == []
    told = collectors(
        {
            "KEYTURN_FORWARD_SYSLOG": "tls://logs.example.com",
            "KEYTURN_FORWARD_SYSLOG_FORMAT": "cef",
            "KEYTURN_FORWARD_HTTP": "https://siem.example.com/",
            "KEYTURN_FORWARD_HTTP_FORMAT": "",
        }
    )
    assert [(one.name, one.form) for one in told] == [
        ("syslog/tls/logs.example.com:6514", Format.CEF),
        ("https/siem.example.com:443", Format.JSONL),
    ]
    with pytest.raises(Invalid, match=r"read KEYTURN_FORWARD_SYSLOG_FORMAT: .*jsonl, cef, ocsf"):
        collectors({"KEYTURN_FORWARD_SYSLOG": "udp://h", "KEYTURN_FORWARD_SYSLOG_FORMAT": "leef"})


@pytest.mark.parametrize("form", Format)
def test_each_format_reaches_a_collector(
    ledger: SqliteLedger, send: Callable[[Collector], Forwarded], httpserver: HTTPServer, form: Format
) -> None:
    ledger.append([dataclasses.replace(entry(), note="one\ntwo | = \\")])
    taking = Taking()
    assert send(HttpCollector(at(httpserver, taking), form)).sent == 1
    begins = {Format.JSONL: '{"seq":1,', Format.CEF: "CEF:0|Keyturn|", Format.OCSF: '{"activity_id":'}
    (line,) = taking.lines
    assert line.startswith(begins[form])
