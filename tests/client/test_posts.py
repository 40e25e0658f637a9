"""Clients report their reads, and continue if reporting fails."""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from keyturn.access_log.sources.post_door import PostDoor, PostedLog, Poster
from keyturn.access_log.sources.posted import PostedSource
from keyturn.agent.proxy.gateway import Misuse, Passage
from keyturn.agent.proxy.trail import PassageTrail
from keyturn.client import posts as module
from keyturn.client.client import SecretClient
from keyturn.client.posts import AccessPosts
from keyturn.client.secrets import NotServed, Secret
from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import SourceOpening
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.audit_lines import AuditMount
from keyturn.core.webhook_keys import generate_webhook_key
from local.support.ports import free_port
from local.support.serving import server_context
from local.support.tls import Certificate, certificate_in
from tests.contracts.access_source import records
from tests.support.hooks import eventually

KEY = generate_webhook_key()


class Shelf:
    """A source that serves what begins with ``ml/``, refuses ``no/``, and can list."""

    name = "shelf"

    def read(self, path: str) -> Secret:
        if path.startswith("no/"):
            raise Denied("read", path, "it may not be read")
        if not path.startswith("ml/"):
            raise NotServed("read", path, "it is not here")
        return Secret(path, SecretFields({"key": "v"}), 7, "7", self.name, datetime.now(UTC))

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        return {path: self.read(path) for path in paths if path.startswith("ml/")}

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(paths, "7")

    def below(self, folder: str, /) -> Sequence[str]:
        return [f"{folder}/a", f"{folder}/b"]


class Server:
    """Where accesses are posted to; ``statuses`` are answered first, instead of asking the door."""

    def __init__(self, directory: Path, certificate: Certificate | None = None) -> None:
        self.directory = directory
        self.statuses: list[int] = []
        self.requests = 0
        door = PostDoor([PostedLog("apps", directory, {"trainer": Poster("trainer", lambda: [KEY])})])
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.requests += 1
                body = self.rfile.read(int(self.headers["content-length"]))
                named = self.path == "/v1/accesses"
                status = outer.statuses.pop(0) if outer.statuses else door.answer(dict(self.headers), body).status
                self.send_response(status if named else 404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = server_context(certificate.certificate, certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._server.server_port}"

    def accesses(self) -> list[Access]:
        source = PostedSource(SourceOpening("apps", 0.1, AuditMount("secret"), str(self.directory)))
        accesses = [record.access for record in records(source)]
        source.close()
        assert {access.principal for access in accesses} <= {"trainer"}
        return accesses

    def taken(self) -> list[tuple[str, int | None, bool]]:
        return [(access.path, access.version, access.denied) for access in self.accesses()]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "posted")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHERED", 0.05)
    monkeypatch.setattr(module, "FAREWELL", 0.2)


def test_what_was_read_from_a_source_is_told_and_what_was_refused_and_no_hit(server: Server) -> None:
    with AccessPosts(server.url, "apps/trainer", KEY, agent="trainer 1.2") as posts:
        client = SecretClient([Shelf()], posts=posts, poll=0)
        for _ in range(3):
            client.get("ml/db")
        client.get_many(["ml/a", "ml/db"])
        with pytest.raises(Denied):
            client.get("no/key")
        with pytest.raises(NotServed):
            client.get("elsewhere/key")
        client.warm(["ml/*"])
        client.close()
        assert posts.flush(10)
    reads = ["ml/db", "ml/a", "no/key", "ml/b"]
    assert server.taken() == [(path, None if path == "no/key" else 7, path == "no/key") for path in reads]
    assert (posts.posted, posts.dropped) == (4, 0)


def test_requests_of_the_proxy_and_misused_placeholders_are_told_with_their_callers(server: Server) -> None:
    with AccessPosts(server.url, "apps/trainer", KEY) as posts:
        trail = PassageTrail(posts)
        trail.report(Passage("coder", "anthropic", "ai/anthropic", 3, "POST", 200, 120, 4000))
        trail.report(Passage("coder", "anthropic", "ai/anthropic", None, "PUT", 403, 0, 0, "not_allowed"))
        trail.report(Misuse("coder", "the route openai", ("legacy/admin",)))
        assert posts.flush(10)
    told = [(each.path, each.version, each.login, each.denied, each.agent) for each in server.accesses()]
    assert told == [
        ("ai/anthropic", 3, "coder", False, "anthropic POST 200, 120 bytes sent, 4000 returned"),
        ("ai/anthropic", None, "coder", True, "anthropic PUT 403 not_allowed, 0 bytes sent, 0 returned"),
        ("legacy/admin", None, "coder", True, "placeholder at the route openai"),
    ]


def test_a_message_that_was_not_taken_comes_again_and_is_taken_once(server: Server) -> None:
    server.statuses = [503, 500, 429, 401]
    with AccessPosts(server.url, "apps/trainer", KEY) as posts:
        posts.note("ml/db", 1)
        assert posts.flush(20)
    assert server.requests == 5
    assert server.taken() == [("ml/db", 1, False)]


def test_over_tls_it_is_told_to_whom_it_trusts_and_to_nobody_else(tmp_path: Path) -> None:
    for place in ("one", "other"):
        (tmp_path / place).mkdir()
    certificate, other = (certificate_in(tmp_path / place) for place in ("one", "other"))
    server = Server(tmp_path / "posted", certificate)
    with AccessPosts(server.url, "apps/trainer", KEY, ca_file=str(other.authority)) as posts:
        posts.note("ml/mistrusted", 1)
    assert posts.posted == 0
    with AccessPosts(server.url, "apps/trainer", KEY, ca_file=str(certificate.authority)) as posts:
        posts.note("ml/db", 1)
        assert posts.flush(10)
    assert server.taken() == [("ml/db", 1, False)]
    server.close()


def test_what_is_refused_for_good_is_dropped_and_counted(server: Server) -> None:
    server.statuses = [400]
    with AccessPosts(server.url, "apps/trainer", KEY) as posts:
        posts.note("ml/db", 1)
        assert posts.flush(10)
        posts.note("ml/key", 1)
        assert posts.flush(10)
    assert (posts.posted, posts.dropped) == (1, 1)
    assert server.taken() == [("ml/key", 1, False)]


def test_where_nobody_answers_reads_go_on_and_what_waits_is_bounded() -> None:
    with AccessPosts(f"http://127.0.0.1:{free_port()}", "apps/trainer", KEY, held=5) as posts:
        client = SecretClient([Shelf()], posts=posts, poll=0)
        for number in range(20):
            assert client.get(f"ml/{number}")["key"].reveal() == "v"
        assert eventually(lambda: posts.dropped >= 10)
        client.close()
    assert posts.posted == 0


def test_a_server_that_drips_its_answer_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 2")
            while not ended.is_set():
                try:
                    connection.sendall(b"y")
                except OSError:
                    ended.set()
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        with AccessPosts(f"http://127.0.0.1:{listener.getsockname()[1]}", "apps/trainer", KEY) as posts:
            posts.note("ml/db", 1)
            assert eventually(ended.is_set)
        thread.join()
    assert posts.posted == 0


def test_a_forked_child_tells_of_its_own_reads_alone(server: Server) -> None:
    with AccessPosts(server.url, "apps/trainer", KEY) as posts:
        posts.note("ml/parent", 1)
        if (child := os.fork()) == 0:
            posts.note("ml/child", 1)
            os._exit(0 if posts.flush(10) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert posts.flush(10)
    assert sorted(path for path, _, _ in server.taken()) == ["ml/child", "ml/parent"]


@pytest.mark.parametrize(
    "url", ["http://keyturn.example:9700", "ftp://127.0.0.1", "127.0.0.1:9700", "https://", "https://h:x"]
)
def test_nothing_is_posted_in_clear_to_another_machine(url: str) -> None:
    with pytest.raises(Invalid, match="no https address"):
        AccessPosts(url, "apps/trainer", KEY)
