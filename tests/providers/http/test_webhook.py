"""The sender, against HTTP servers on loopback."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook
from werkzeug import Request, Response

from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.notifications.notices import NOTICE_PATH, SECRET_ROTATED, Notice, message_id
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import retry_after
from keyturn.providers.deliver_notices import backoff, deliver_notice, sign_notice
from keyturn.providers.http.webhook import WebhookSender

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))
ID = message_id(NOTICE.secret_path, NOTICE.version, NOTICE.event)
LEAK = "hunter2"


class Senders(dict[str, WebhookSender]):
    """A sender for each address, made when it is first asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = {"insecure_http": True, **settings}

    def __missing__(self, url: str) -> WebhookSender:
        made = self[url] = WebhookSender("webhook:trainer", url, **self.settings)
        return made

    def close(self) -> None:
        for sender in self.values():
            sender.close()


@pytest.fixture
def sender() -> Iterator[Senders]:
    with closing(Senders()) as made:
        yield made


class Sleeper:
    """Sleeps by noting how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def send(sender: Senders, url: str, *, key: Sensitive = KEY, timeout: float = 5) -> None:
    sender[url].send(sign_notice([key], NOTICE, ID, "webhook:trainer"), timeout)


def send_patiently(
    sender: Senders, url: str, sleep: Sleeper, *, attempts: int = 4, base: float = 1, cap: float = 3
) -> None:
    deliver_notice(
        sender[url], [KEY], NOTICE, message_id=ID, timeout=5, name="webhook:trainer",
        attempts=attempts, base=base, cap=cap, sleep=sleep, jitter=lambda: 1.0,
    )  # fmt: skip


def answers(server: HTTPServer, *statuses: int, headers: dict[str, str] | None = None) -> str:
    """Let the server give these answers in turn; the address to send to."""
    for status in statuses:
        server.expect_ordered_request(NOTICE_PATH, method="POST").respond_with_data(LEAK, status, headers)
    return server.url_for("")


def test_a_receiver_takes_what_is_sent(sender: Senders, httpserver: HTTPServer) -> None:
    told: list[Notice] = []
    receiver = Receiver([KEY])

    def take(request: Request) -> Response:
        return Response(status=receiver.handle(dict(request.headers), request.data, told.append))

    httpserver.expect_request(NOTICE_PATH, method="POST").respond_with_handler(take)
    send(sender, httpserver.url_for("/"))
    assert told == [NOTICE]
    request, _ = httpserver.log[0]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == ID
    Webhook(KEY.reveal()).verify(request.data, dict(request.headers))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (202, Invalid),
        (204, Invalid),
        (301, Invalid),
        (307, Invalid),
        (400, Invalid),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (408, Unavailable),
        (410, NotFound),
        (413, Invalid),
        (429, Throttled),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_every_answer_but_200_is_an_error_of_its_class_that_tells_nothing_of_the_body(
    sender: Senders, httpserver: HTTPServer, status: int, error: type[KeyturnError]
) -> None:
    url = answers(httpserver, status, headers={"location": httpserver.url_for("/elsewhere")})
    with pytest.raises(error) as caught:
        send(sender, url)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"notify webhook:trainer: answered {status}")
    assert caught.value.hint
    assert LEAK not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_consumer_that_asks_for_a_slower_pace_is_heard(sender: Senders, httpserver: HTTPServer, status: int) -> None:
    with pytest.raises(Throttled) as caught:
        send(sender, answers(httpserver, status, headers={"retry-after": "7"}))
    assert caught.value.retry_after == 7


def test_a_consumer_that_is_not_there_is_unavailable(sender: Senders) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="it does not answer: the connection is refused"):
            send(sender, f"http://127.0.0.1:{unheard.getsockname()[1]}")


def test_a_consumer_that_does_not_answer_is_unavailable(sender: Senders) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable, match=r"within 0\.2 s"):
        send(sender, f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)


def test_an_answer_that_breaks_off_is_unavailable(sender: Senders) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broken:

        def answer() -> None:
            peer, _ = broken.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unavailable):
            send(sender, f"http://127.0.0.1:{broken.getsockname()[1]}")
        thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "trainer:8080",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://user:hunter2@127.0.0.1:1",
        "http://127.0.0.1:1/?token=hunter2",
        "http://127.0.0.1:99999",
        "http://*.example",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_quoted(sender: Senders, url: str) -> None:
    with pytest.raises(Invalid, match="its address") as caught:
        send(sender, url)
    assert LEAK not in repr(caught.value)


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_a", "whsec_é"])
def test_a_key_that_is_none_is_refused_without_being_quoted(sender: Senders, key: str) -> None:
    with pytest.raises(Invalid, match="webhook key"):
        send(sender, "http://127.0.0.1:1", key=Sensitive(key))


def test_plain_http_is_refused_unless_it_is_allowed() -> None:
    strict = Senders(insecure_http=False)
    with pytest.raises(Invalid, match="not an https URL"):
        send(strict, "http://192.0.2.1:1")
    strict.close()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[HTTPServer, Path]]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with HTTPServer("127.0.0.1", ssl_context=context) as server:
        yield server, tmp_path / "ca.pem"


def test_tls_is_spoken_with_whom_the_ca_vouches_for(tls: tuple[HTTPServer, Path]) -> None:
    server, ca = tls
    sender = Senders(ca_file=str(ca))
    send(sender, answers(server, 200))
    sender.close()


def test_a_certificate_that_nobody_vouches_for_is_denied_and_not_tried_again(tls: tuple[HTTPServer, Path]) -> None:
    server, _ = tls
    sender, sleep = Senders(), Sleeper()
    with pytest.raises(Denied, match="certificate"):
        send_patiently(sender, answers(server, 200), sleep)
    sender.close()
    assert sleep.slept == []


def test_a_netrc_and_a_proxy_in_the_environment_play_no_part(
    sender: Senders, httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login keyturn password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    send(sender, answers(httpserver, 200))
    assert "authorization" not in httpserver.log[0][0].headers


def test_a_consumer_cannot_plant_a_cookie(sender: Senders, httpserver: HTTPServer) -> None:
    url = answers(httpserver, 200, 200, headers={"set-cookie": "session=hunter2; Path=/"})
    send(sender, url)
    send(sender, url)
    assert "cookie" not in httpserver.log[1][0].headers


def test_every_retry_carries_the_same_id_and_the_waits_grow_to_the_cap(sender: Senders, httpserver: HTTPServer) -> None:
    sleep = Sleeper()
    send_patiently(sender, answers(httpserver, 503, 500, 429, 200), sleep)
    assert sleep.slept == [1, 2, 3]
    assert [request.headers["webhook-id"] for request, _ in httpserver.log] == [ID] * 4
    for request, _ in httpserver.log:
        Webhook(KEY.reveal()).verify(request.data, dict(request.headers))


def test_the_last_error_is_raised_when_no_attempt_was_acknowledged(sender: Senders, httpserver: HTTPServer) -> None:
    sleep = Sleeper()
    with pytest.raises(Throttled, match="429"):
        send_patiently(sender, answers(httpserver, 503, 429), sleep, attempts=2)
    assert sleep.slept == [1]


def test_an_error_that_a_person_must_mend_is_not_tried_again(sender: Senders, httpserver: HTTPServer) -> None:
    sleep = Sleeper()
    with pytest.raises(Denied):
        send_patiently(sender, answers(httpserver, 503, 401), sleep)
    assert len(httpserver.log) == 2


def test_the_wait_that_a_consumer_asks_for_is_kept_up_to_the_cap(sender: Senders, httpserver: HTTPServer) -> None:
    sleep = Sleeper()
    url = answers(httpserver, 503, headers={"retry-after": "2"})
    answers(httpserver, 503, headers={"retry-after": "86400"})
    send_patiently(sender, answers(httpserver, 200), sleep)
    assert sleep.slept == [2, 3]
    assert url


class Dripping:
    """A server that takes any request and answers a byte at a time, for ever: headers that never end, or a body."""

    def __init__(self, opening: bytes, context: ssl.SSLContext | None = None) -> None:
        self.opening, self.context = opening, context
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            connection, _ = self._socket.accept()
            with suppress(OSError), self.context.wrap_socket(connection, True) if self.context else connection as inner:
                self._drip(inner)

    def _drip(self, connection: socket.socket) -> None:
        if connection.recv(65_536):
            self.asked += 1
        connection.sendall(self.opening)
        while not self._over.wait(0.02):
            connection.sendall(b"x")

    def close(self) -> None:
        self._over.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._socket.close()


HEADERS, BODY = b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n"


@pytest.mark.parametrize("opening", [b"", HEADERS, HEADERS + b"\r\n", BODY])
def test_a_server_that_drips_holds_nobody_longer_than_one_that_is_silent(sender: Senders, opening: bytes) -> None:
    with closing(Dripping(opening)) as server:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
            send(sender, f"http://127.0.0.1:{server.port}", timeout=0.3)
        with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
            sender[f"http://127.0.0.1:{server.port}"].check_health(0.3)
        assert time.monotonic() - begun < 3


def test_a_server_that_drips_over_tls_holds_nobody_either(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with closing(Dripping(HEADERS, context)) as server, closing(Senders(ca_file=str(tmp_path / "ca.pem"))) as sender:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
            send(sender, f"https://127.0.0.1:{server.port}", timeout=0.3)
        assert time.monotonic() - begun < 3


def test_all_tries_of_a_notice_have_one_deadline(sender: Senders) -> None:
    """Each try takes until its own timeout; the clock is the test's, so that nobody waits a minute."""
    passed = iter(range(0, 10_000, 40))
    sleep = Sleeper()
    with closing(Dripping(HEADERS)) as server, pytest.raises(Unavailable):
        deliver_notice(
            sender[f"http://127.0.0.1:{server.port}"], [KEY], NOTICE, message_id=ID, timeout=0.1,
            name="webhook:trainer", attempts=100, sleep=sleep, jitter=lambda: 1.0, clock=lambda: float(next(passed)),
        )  # fmt: skip
    assert server.asked == 1


def test_a_connection_is_used_again_after_a_deadline_that_was_kept(sender: Senders, httpserver: HTTPServer) -> None:
    url = answers(httpserver, 200, 200)
    send(sender, url, timeout=0.2)
    time.sleep(0.25)
    send(sender, url, timeout=0.2)
    assert len(httpserver.log) == 2


def test_no_attempt_at_all_is_an_error(sender: Senders) -> None:
    with pytest.raises(Invalid, match="0 attempts"):
        send_patiently(sender, "http://127.0.0.1:1", Sleeper(), attempts=0)


def test_one_sender_serves_many_threads(sender: Senders, httpserver: HTTPServer) -> None:
    httpserver.expect_request(NOTICE_PATH, method="POST").respond_with_data("ok")
    threads = [threading.Thread(target=send, args=(sender, httpserver.url_for(""))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(httpserver.log) == 16


def test_backoff_doubles_up_to_the_cap_and_is_scaled_by_the_jitter() -> None:
    assert [backoff(attempt, 0.5, 30, 1.0) for attempt in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff(3, 0.5, 30, 0.25) == 0.5
    assert backoff(5_000, 0.5, 30, 1.0) == 30
    assert backoff(1, 0.5, 30, 0.0) == 0


def test_retry_after_is_read_in_both_its_forms() -> None:
    now = datetime(2025, 3, 1, 12, 30, tzinfo=UTC)
    assert retry_after("120", now) == 120
    assert retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert retry_after(format_datetime(now - timedelta(days=1), usegmt=True), now) == 0
    for nonsense in ("", "soon", "-1", "1e9", "²", "Sat, 01 Mar 2025 12:30:00 -0000", "Sat, 01 Mar 99999 12:30:00 GMT"):
        assert retry_after(nonsense, now) is None
