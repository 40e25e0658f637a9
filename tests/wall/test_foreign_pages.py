"""A web page of another origin can't reach the local stack's Prefect server.

The door alone is tried here, before a small application; before Prefect in tests/deployments/test_whole_stack.py.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from deployments.foreign_pages import OwnPagesOnly, origins

HOST = (b"host", b"127.0.0.1:4200")
JSON = (b"content-type", b"application/json")
BODY = (b"content-length", b"2")
OWN = (b"origin", b"https://127.0.0.1:4200")

Headers = tuple[tuple[bytes, bytes], ...]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Lets everybody in, as Prefect does."""
    kind = "websocket.accept" if scope["type"] == "websocket" else "http.response.start"
    await send({"type": kind, "status": 200})


def asked(
    *headers: tuple[bytes, bytes], method: str = "POST", kind: str = "http", own: Sequence[str] = origins([4200])
) -> dict[str, Any]:
    """What the client hears first."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing of a request that is refused is read")

    scope: Any = {"type": kind, "headers": headers} | ({"method": method} if kind == "http" else {})
    asyncio.run(OwnPagesOnly(application, own)(scope, receive, send))
    return sent[0]


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example:4200",
        b"evil.example",
        b"127.0.0.1.evil.example:4200",
        b"127.0.0.1:4201",
        b"127.0.0.1",
        b"0.0.0.0:4200",
        b"",
        b"127.0.0.1:4200, evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_rebound_to_loopback_is_refused(host: bytes, method: str) -> None:
    assert asked((b"host", host), JSON, method=method)["status"] == 421


@pytest.mark.parametrize("headers", [(JSON,), (HOST, HOST, JSON), (HOST, (b"host", b"evil.example"), JSON)])
def test_a_request_with_no_host_or_two_is_refused(headers: Headers) -> None:
    assert asked(*headers)["status"] == 421


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"null",
        b"http://127.0.0.1:4200",
        b"https://127.0.0.1:4201",
        b"https://127.0.0.1",
        b"https://127.0.0.1:4200.evil.example",
        b"",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "OPTIONS"])
def test_a_page_of_another_origin_is_refused_whatever_it_asks(origin: bytes, method: str) -> None:
    assert asked(HOST, JSON, (b"origin", origin), method=method)["status"] == 403
    assert asked(HOST, JSON, OWN, (b"origin", origin), method=method)["status"] == 403


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"https://localhost:4201"])
def test_a_page_of_another_origin_opens_no_websocket(origin: bytes) -> None:
    assert asked(HOST, (b"origin", origin), kind="websocket")["type"] == "websocket.close"
    assert asked((b"host", b"evil.example:4200"), kind="websocket")["type"] == "websocket.close"


@pytest.mark.parametrize("site", [b"cross-site", b"same-site"])
@pytest.mark.parametrize(
    ("method", "mode"), [("GET", b"no-cors"), ("GET", b"cors"), ("POST", b"navigate"), ("POST", b"no-cors")]
)
def test_the_browsers_fetch_metadata_of_a_foreign_page_is_respected(site: bytes, method: str, mode: bytes) -> None:
    said = ((b"sec-fetch-site", site), (b"sec-fetch-mode", mode))
    assert asked(HOST, JSON, *said, method=method)["status"] == 403


@pytest.mark.parametrize(
    "kind",
    [
        (),
        ((b"content-type", b"text/plain"),),
        ((b"content-type", b"application/x-www-form-urlencoded"),),
        ((b"content-type", b"multipart/form-data; boundary=application/json"),),
        ((b"content-type", b"text/plain; application/json"),),
        (JSON, (b"content-type", b"text/plain")),
    ],
)
@pytest.mark.parametrize("length", [BODY, (b"transfer-encoding", b"chunked")])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_body_that_browsers_send_without_asking_is_not_taken(
    kind: Headers, length: tuple[bytes, bytes], method: str
) -> None:
    assert asked(HOST, length, *kind, method=method)["status"] == 415


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", (JSON, BODY)),
        ("POST", ((b"content-type", b"application/json; charset=utf-8"), BODY)),
        ("POST", ()),
        ("POST", ((b"content-length", b"0"),)),
        ("POST", (JSON, BODY, OWN, (b"sec-fetch-site", b"same-origin"))),
        ("POST", (JSON, BODY, (b"origin", b"https://localhost:4200"), (b"sec-fetch-site", b"cross-site"))),
        ("GET", ((b"sec-fetch-site", b"none"), (b"sec-fetch-mode", b"navigate"))),
        ("GET", ((b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate"))),
        ("DELETE", ()),
    ],
)
def test_its_own_page_its_clients_and_links_to_it_are_let_in(method: str, headers: Headers) -> None:
    assert asked(HOST, *headers, method=method)["status"] == 200


def test_its_own_page_may_send_requests_to_no_other_server() -> None:
    headers = asked(HOST, method="GET", own=["https://127.0.0.1:4200", "https://prefect.example.com"])["headers"]
    policy = dict(headers)[b"content-security-policy"].decode()
    kind, *places = policy.split()
    own = ["https://127.0.0.1:4200", "https://prefect.example.com"]
    sockets = ["wss://127.0.0.1:4200", "wss://prefect.example.com"]
    assert (kind, places) == ("connect-src", ["'self'", *own, *sockets])
    assert "headers" not in asked(HOST, OWN, kind="websocket")


def test_its_own_page_and_its_clients_open_websockets() -> None:
    assert asked(HOST, OWN, kind="websocket")["type"] == "websocket.accept"
    assert asked(HOST, kind="websocket")["type"] == "websocket.accept"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"prefect.example.com", 200),  # as browsers write it, at the port that https has by itself
        (b"prefect.example.com:4200", 200),
        (b"prefect.example.com:443", 421),
        (b"prefect.example.com.evil.example", 421),
        (b"other.example.com:4200", 421),
    ],
)
def test_a_server_in_production_answers_to_its_own_name_and_to_no_other(host: bytes, status: int) -> None:
    own = origins([4200, 443], ["prefect.example.com"])
    assert asked((b"host", host), JSON, BODY, own=own)["status"] == status
    page = (b"origin", b"https://prefect.example.com")
    foreign = (b"origin", b"https://evil.example")
    assert asked((b"host", b"prefect.example.com"), page, JSON, BODY, own=own)["status"] == 200
    assert asked((b"host", b"prefect.example.com"), foreign, JSON, BODY, own=own)["status"] == 403
