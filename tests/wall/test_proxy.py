"""No service and no caller gets a key out of `keyturn proxy`, past a route's limits, or makes it hang."""

import asyncio
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from keyturn.agent import http
from keyturn.agent.proxy.gateway import Misuse
from tests.support.hooks import eventually
from tests.support.proxy import KEY, PLACEHOLDERS, Proxied, proxied
from tests.support.upstream import Answer, Received, Service, says, service

OK = b"HTTP/1.1 200 OK\r\n"
LIVE = KEY.format(1)
TOKEN = PLACEHOLDERS["trainer"]


@pytest.fixture
def upstream() -> Iterator[Service]:
    with service() as made:
        yield made


@pytest.fixture
def proxy(upstream: Service) -> Iterator[Proxied]:
    with proxied(upstream, {"openai": {}, "other": {"callers": ["gateway"]}}) as made:
        yield made


def forever(begin: bytes, piece: bytes) -> Answer:
    """Send the same piece again and again, until the other side closes."""

    async def answer(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(piece)
            await writer.drain()

    return answer


async def silent(request: Received, reader: asyncio.StreamReader, writer: Any) -> None:
    await asyncio.sleep(3600)


async def dripping(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"content-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_head(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"H" if request.body else b"X-Pad: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def repeating(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
    """Answer with the credential, in the status, a header, and a body that is cut in the middle of it."""
    key = request.value("authorization").encode()
    body = b"Incorrect API key provided: " + key
    writer.write(b"HTTP/1.1 401 Bad " + key + b"\r\nx-echo: " + key + b"\r\nlocation: /?key=" + key[7:])
    writer.write(b"\r\ncontent-length: %d\r\n\r\n" % len(body))
    writer.write(body[:-8])
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.write(body[-8:])


# --- hostile services

CASES: dict[str, tuple[Answer, set[int]]] = {
    "answers never": (silent, {504}),
    "drips its body": (dripping, {0}),
    "drips its head": (dripping_head, {502, 504}),
    "sends headers without end": (forever(OK, b"x-pad: " + b"y" * 1000 + b"\r\n"), {502}),
    "sends one header without end": (forever(OK + b"x-pad: ", b"y" * 1000), {502}),
    "sends interim answers without end": (forever(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"), {502}),
    "closes at once": (says(b""), {502}),
    "closes in its head": (says(OK + b"content-le"), {502}),
    "closes before its length": (says(OK + b"content-length: 50\r\n\r\nabc"), {0}),
    "closes in a chunk": (says(OK + b"transfer-encoding: chunked\r\n\r\n20\r\nabc"), {0}),
    "closes before the last chunk": (says(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"), {0}),
    "has two lengths": (says(OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), {502}),
    "has a length and chunks": (says(OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), {502}),
    "has a negative length": (says(OK + b"content-length: -3\r\n\r\nabc"), {502}),
    "has a chunk that is no number": (says(OK + b"transfer-encoding: chunked\r\n\r\nxx\r\nabc"), {0}),
    "has an unknown encoding": (says(OK + b"transfer-encoding: gzip\r\n\r\nabc"), {502}),
    "folds a header": (says(OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n"), {502}),
    "speaks another protocol": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), {502}),
    "switches protocols": (says(b"HTTP/1.1 101 Up\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), {502}),
    "asks for a proxy's login": (says(b"HTTP/1.1 407 Login\r\nproxy-authenticate: Basic\r\n\r\n"), {502}),
    "compresses unasked": (says(OK + b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"), {502}),
    "repeats the key": (repeating, {401}),
}
"""What a service does, and the statuses that its caller may get; 0: the connection breaks."""


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_service_makes_nothing_hang_and_no_key_leak(case: str, upstream: Service, caplog: Any) -> None:
    answer, statuses = CASES[case]
    upstream.answers["/v1/case"] = answer
    caplog.set_level(logging.DEBUG)
    with proxied(upstream, answer_within="1s", longest="2s") as proxy:
        received = request(proxy, "/case")
        assert status_of(received) in statuses or (0 in statuses and not is_whole(received))
        assert LIVE.encode() not in received
        assert proxy.send("/chat").status_code == 200
        assert LIVE not in f"{proxy.events} {caplog.text}"


def request(proxy: Proxied, path: str, method: str = "GET") -> bytes:
    head = f"{method} /to/openai{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    return proxy.raw(f"{head}Connection: close\r\n\r\n".encode(), 10)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


def is_whole(answer: bytes) -> bool:
    """Whether a client would take it for a complete answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if length := re.search(rb"content-length: (\d+)", head):
        return len(body) == int(length[1])
    return body.endswith(b"0\r\n\r\n") if b"chunked" in head else bool(answer)


def test_what_a_service_sends_after_its_answer_reaches_no_other_caller(proxy: Proxied, upstream: Service) -> None:
    answer = OK + b"content-length: 2\r\n\r\nok" + OK + b"content-length: 5\r\n\r\nwrong"
    upstream.answers["/v1/two"] = says(answer, close=False)

    async def later(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-length: 2\r\n\r\nok")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(OK + b"content-length: 5\r\n\r\nwrong")

    upstream.answers["/v1/later"] = later
    for path in ("/two", "/later"):
        for _ in range(3):
            assert proxy.send(path, "GET").text == "ok"
            time.sleep(0.2)  # what it sends unasked arrives
            assert proxy.send("/chat").text != "wrong"


def test_a_redirect_is_handed_back_and_the_key_is_sent_nowhere(proxy: Proxied, upstream: Service) -> None:
    with service() as elsewhere:
        places = {
            f"{elsewhere.url}/v1/steal": f"{elsewhere.url}/v1/steal",
            "/v1/next?a=1": "/to/openai/next?a=1",
            "next": "/to/openai/next",
            f"{upstream.url}/v1/next": "/to/openai/next",
            "/secretsmanager/get": f"{upstream.url}/secretsmanager/get",
            f"//127.0.0.1:{elsewhere.port}/x": f"http://127.0.0.1:{elsewhere.port}/x",
        }
        for location, shown in places.items():
            head = f"HTTP/1.1 307 Over There\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
            upstream.answers["/v1/go"] = says(head.encode(), close=False)
            answer = proxy.send("/go")
            assert (answer.status_code, answer.headers["location"]) == (307, shown)
        assert elsewhere.requests == []


def test_a_session_of_the_service_is_not_given_to_the_caller(proxy: Proxied, upstream: Service) -> None:
    upstream.answers["/v1/in"] = says(OK + b"set-cookie: session=1\r\nalt-svc: h3\r\ncontent-length: 0\r\n\r\n")
    headers = proxy.send("/in").headers
    assert "set-cookie" not in headers
    assert "alt-svc" not in headers


# --- hostile callers

LINE = "POST /to/openai/chat HTTP/1.1"
HOST = "Host: 127.0.0.1"
LOGIN = f"Authorization: Bearer {TOKEN}"


def crafted(*lines: str, body: str = "") -> bytes:
    return ("\r\n".join((*lines, "", "")) + body).encode("latin-1")


REQUESTS: dict[str, tuple[bytes, int]] = {
    "another's route": (crafted("POST /to/other/chat HTTP/1.1", HOST, LOGIN, "Content-Length: 0"), 403),
    "no such route": (crafted("POST /to/none/chat HTTP/1.1", HOST, LOGIN, "Content-Length: 0"), 403),
    "no route": (crafted("POST /to/ HTTP/1.1", HOST, LOGIN, "Content-Length: 0"), 403),
    "no placeholder": (crafted(LINE, HOST, "Content-Length: 0"), 401),
    "a wrong placeholder": (crafted(LINE, HOST, "Authorization: Bearer kt-x", "Content-Length: 0"), 401),
    "the placeholder in the query": (crafted(f"POST /to/openai/chat?key={TOKEN} HTTP/1.1", HOST), 401),
    "a method that is not allowed": (crafted("DELETE /to/openai/chat HTTP/1.1", HOST, LOGIN), 403),
    "a foreign host": (crafted(LINE, "Host: rebound.example", LOGIN, "Content-Length: 0"), 421),
    "two hosts": (crafted(LINE, HOST, "Host: localhost", LOGIN, "Content-Length: 0"), 400),
    "no host": (crafted(LINE, LOGIN, "Content-Length: 0"), 400),
    "a forwarded request": (crafted(LINE, HOST, LOGIN, "X-Forwarded-For: 10.0.0.1", "Content-Length: 0"), 400),
    "two lengths": (crafted(LINE, HOST, LOGIN, "Content-Length: 3", "Content-Length: 4", body="abcd"), 400),
    "two equal lengths": (crafted(LINE, HOST, LOGIN, "Content-Length: 3", "Content-Length: 3", body="abc"), 400),
    "a length and chunks": (
        crafted(LINE, HOST, LOGIN, "Content-Length: 3", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
        400,
    ),
    "chunks and a length": (
        crafted(LINE, HOST, LOGIN, "Transfer-Encoding: chunked", "Content-Length: 3", body="0\r\n\r\n"),
        400,
    ),
    "an odd length": (crafted(LINE, HOST, LOGIN, "Content-Length: +3", body="abc"), 400),
    "a huge length": (crafted(LINE, HOST, LOGIN, "Content-Length: 99999999999999999"), 413),
    "an odd encoding": (crafted(LINE, HOST, LOGIN, "Transfer-Encoding: xchunked", body="0\r\n\r\n"), 400),
    "two encodings": (crafted(LINE, HOST, LOGIN, "Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"), 400),
    "a space before the colon": (crafted(LINE, HOST, LOGIN, "Content-Length : 0"), 400),
    "a folded header": (crafted(LINE, HOST, LOGIN, "X-A: b", " c", "Content-Length: 0"), 400),
    "a bare carriage return": (crafted(LINE, HOST, LOGIN, "X-A: b\rX-B: c", "Content-Length: 0"), 400),
    "bare line feeds": (crafted(LINE, HOST, LOGIN, "Content-Length: 0").replace(b"\r\n", b"\n"), 400),
    "a zero byte": (crafted(LINE, HOST, LOGIN, "X-A: b\0c", "Content-Length: 0"), 400),
    "no version": (crafted("POST /to/openai/chat", HOST, LOGIN), 400),
    "another version": (crafted("POST /to/openai/chat HTTP/2.0", HOST, LOGIN), 400),
    "headers without an end": (crafted(LINE, HOST, LOGIN, "X-A: " + "b" * 40_000), 431),
    "a WebSocket": (crafted("GET /to/openai HTTP/1.1", HOST, LOGIN, "Connection: upgrade", "Upgrade: websocket"), 501),
    "a tunnel": (crafted("CONNECT api.openai.com:443 HTTP/1.1", "Host: api.openai.com:443", LOGIN), 404),
    "a whole address": (crafted("GET http://api.openai.com/v1 HTTP/1.1", "Host: api.openai.com", LOGIN), 404),
    "a secret": (crafted("GET /secretsmanager/get?secretId=ai/openai HTTP/1.1", HOST, LOGIN), 404),
    "metrics": (crafted("GET /metrics HTTP/1.1", HOST, LOGIN), 404),
    **{
        f"the path {path!r}": (crafted(f"POST /to/openai{path} HTTP/1.1", HOST, LOGIN, "Content-Length: 0"), 400)
        for path in (
            "/../admin", "/a/..", "/./a", "/a//b", "//evil.example/x", "/%2e%2e/admin", "/a%2f..%2fadmin", "/a%2Fb",
            "/a%5cb", "/a\\b", "/a/..;/b", "/%252e%252e/a", "/a%00b", "/a%0d%0aX-A:b", "/a%", "/a%zz", "/caf\xe9",
            "/a?x=\x7f",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS)
def test_a_crafted_request_is_refused_and_reaches_no_service(case: str, proxy: Proxied, upstream: Service) -> None:
    data, status = REQUESTS[case]
    answer = proxy.raw(data)
    assert status_of(answer) == status, answer[:200]
    assert upstream.requests == []
    assert LIVE.encode() not in answer
    assert proxy.send("/chat").status_code == 200


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "X_Api_Key"]
)
def test_headers_that_change_a_request_behind_the_route_are_not_passed_on(
    proxy: Proxied, upstream: Service, name: str
) -> None:
    assert proxy.send(headers={name: "DELETE", "X-Fine": "1", "Connection": "x-hop", "X-Hop": "1"}).status_code == 200
    names = {header for header, _ in upstream.requests[0].headers}
    assert name.lower() not in names
    assert "x-hop" not in names
    assert "x-fine" in names


def test_a_second_request_behind_the_first_is_not_mixed_into_it(proxy: Proxied, upstream: Service) -> None:
    first = crafted(LINE, HOST, LOGIN, "Content-Length: 0")
    answer = proxy.raw(first + crafted("DELETE /to/other/x HTTP/1.1", HOST, LOGIN, "Content-Length: 0"))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
    assert len(upstream.requests) == 1


def test_only_a_routes_own_paths_and_methods_pass(upstream: Service) -> None:
    allow = [{"methods": ["POST"], "paths": ["/chat/*"]}, {"paths": ["/models/**"]}]
    with proxied(upstream, allow=allow) as proxy:
        passed = {
            (method, path): proxy.send(path, method).status_code == 200
            for method in ("GET", "POST", "PUT")
            for path in ("/chat/a", "/chat/a/b", "/chat", "/models/a/b", "/model/a", "/chat/%61")
        }
    assert {key for key, value in passed.items() if value} == {
        ("POST", "/chat/a"),
        ("POST", "/chat/%61"),
        ("GET", "/models/a/b"),
    }


def test_a_placeholder_that_is_shown_elsewhere_raises_an_alarm(upstream: Service) -> None:
    routes: dict[str, Any] = {"openai": {"decoy": "legacy/admin"}, "other": {"callers": ["gateway"]}}
    with proxied(upstream, routes) as proxy:
        proxy.raw(crafted("GET /v1/ai/openai HTTP/1.1", HOST, f"X-Vault-Token: {TOKEN}"))
        proxy.raw(crafted("GET /to/other/x HTTP/1.1", HOST, LOGIN))
        proxy.raw(crafted("GET /to/unknown HTTP/1.1", HOST, LOGIN))
        seen = [event for event in proxy.events if isinstance(event, Misuse)]
    assert [event.caller for event in seen] == ["trainer"] * 3
    assert {event.decoys for event in seen} == {("legacy/admin",)}
    assert TOKEN not in str(proxy.events)


def test_a_caller_that_dribbles_or_stops_is_closed(proxy: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.5)
    for begin in (b"", b"PO", b"POST /to", LINE.encode(), crafted(LINE, HOST)[:-2]):
        assert proxy.raw(begin) == b""
    assert proxy.send().status_code == 200


def test_a_caller_that_reads_no_answer_gets_no_second_one(proxy: Proxied, upstream: Service) -> None:
    text = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % 2**23 + bytes(2**23)
    upstream.answers["/v1/large"] = says(text, close=False)
    data = crafted("GET /to/openai/large HTTP/1.1", HOST, LOGIN)
    with socket.create_connection(("127.0.0.1", proxy.port), 30) as connection:
        connection.sendall(data)
        assert eventually(lambda: upstream.requests)
        for _ in range(5):
            time.sleep(0.1)
            connection.sendall(data)
        assert len(upstream.requests) == 1
    assert eventually(lambda: proxy.passages)


def test_a_caller_that_sends_no_body_is_cut(upstream: Service) -> None:
    with proxied(upstream, answer_within="1s", longest="2s") as proxy:
        answer = proxy.raw(crafted(LINE, HOST, LOGIN, "Content-Length: 10"))
        assert status_of(answer) == 504
        assert proxy.send().status_code == 200


def test_a_body_that_is_no_chunk_breaks_the_request_off(proxy: Proxied, upstream: Service) -> None:
    answer = proxy.raw(crafted(LINE, HOST, LOGIN, "Transfer-Encoding: chunked", body="3\r\nabcdef\r\n0\r\n\r\n"))
    assert status_of(answer) == 400
    assert upstream.requests == []


def test_a_service_whose_certificate_is_not_its_own_gets_no_key(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    for name, made in (("ca.pem", authority), ("stranger.pem", stranger)):
        made.cert_pem.write_to_path(tmp_path / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with service(context) as upstream:
        for url, ca_file, status in (
            (f"https://localhost:{upstream.port}/v1", "ca.pem", 200),
            (f"https://localhost:{upstream.port}/v1", "stranger.pem", 502),
            (f"https://127.0.0.1:{upstream.port}/v1", "ca.pem", 502),
        ):
            with proxied(upstream, url=url, ca_file=str(tmp_path / ca_file)) as proxy:
                answer = proxy.send()
                assert answer.status_code == status, answer.text
        assert len(upstream.requests) == 1


def test_a_service_may_be_unreachable_or_be_this_machines_own_metadata(upstream: Service) -> None:
    for url in ("http://127.0.0.1:1", "http://localhost:1/v1"):
        with proxied(upstream, url=url) as proxy:
            answer = proxy.send()
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_answer")


def test_a_key_that_no_header_can_carry_is_not_sent(upstream: Service) -> None:
    with proxied(upstream) as proxy:
        for value in ("", "two words", "line\nbreak: x", "\xfcmlaut"):
            proxy.gateway.told(proxy.source.put("ai/openai", {"key": value}))
            answer = proxy.send()
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "credential_unusable")
        proxy.gateway.told(proxy.source.put("ai/openai", {"other": "field"}))
        assert proxy.send().status_code == 502
    assert upstream.requests == []


def test_after_its_revocation_no_request_has_the_old_key(proxy: Proxied, upstream: Service) -> None:
    async def slow(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    upstream.answers["/v1/slow"] = slow
    with proxy.send("/slow", stream=True) as answer:
        pieces = answer.iter_content(1)
        assert next(pieces) == b"x"
        proxy.revoke()
        count = len(upstream.requests)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(pieces)
    assert proxy.send().status_code == 200
    assert all(LIVE not in request.value("authorization") for request in upstream.requests[count:])
    assert eventually(lambda: [passage.code for passage in proxy.passages][:1] == ["credential_revoked"])
