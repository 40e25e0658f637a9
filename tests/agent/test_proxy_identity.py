"""A route with a workload identity: the proxy exchanges the workload's token, and no key is stored."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.catalogue.routes import RouteSettings
from tests.support.hooks import eventually
from tests.support.proxy import KEY, PATH, Proxied, proxied, route_settings
from tests.support.upstream import Received, Service, service

CLAIMS = {"iss": "https://issuer.example.com", "sub": "system:serviceaccount:ml:trainer", "aud": ["service"]}
WORKLOAD = f"e30.{base64.urlsafe_b64encode(json.dumps(CLAIMS).encode()).decode().rstrip('=')}.c2ln"


class Issuer:
    """Answers each exchange with the next token, or refuses."""

    def __init__(self) -> None:
        self.seen: list[Received] = []
        self.status = "200 OK"
        self.answer: dict[str, Any] = {}

    async def __call__(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.append(request)
        body = json.dumps({"access_token": self.token(len(self.seen)), "expires_in": 3600, **self.answer}).encode()
        writer.write(f"HTTP/1.1 {self.status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)

    @staticmethod
    def token(number: int) -> str:
        return f"short-lived-{number}-0123456789"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def upstream(issuer: Issuer) -> Iterator[Service]:
    with service() as made:
        made.answers["/oauth/token"] = issuer
        yield made


def identity(upstream: Service, directory: Path, **changes: Any) -> dict[str, Any]:
    """A route's changes, with the workload's token in a file."""
    (directory / "token").write_text(WORKLOAD + "\n")
    exchange = {"url": f"{upstream.url}/oauth/token", "body": {"assertion": "{{identity}}", "rule": "r-1"}}
    return {"field": None, "identity": {"token_file": str(directory / "token"), "exchange": exchange, **changes}}


@pytest.fixture
def proxy(upstream: Service, tmp_path: Path) -> Iterator[Proxied]:
    with proxied(upstream, secret=None, **identity(upstream, tmp_path, headers={"x-beta": "federation"})) as made:
        yield made


def of_service(upstream: Service) -> list[Received]:
    return [request for request in upstream.requests if "/oauth/token" not in request.line]


def test_a_request_arrives_with_a_short_lived_token(proxy: Proxied, upstream: Service, issuer: Issuer) -> None:
    for _ in range(3):
        assert proxy.send("/chat", json={}).status_code == 200
    (exchange,) = issuer.seen
    assert exchange.line == "POST /oauth/token HTTP/1.1"
    assert json.loads(exchange.body) == {"assertion": WORKLOAD, "rule": "r-1"}
    assert {request.value("authorization") for request in of_service(upstream)} == {f"Bearer {Issuer.token(1)}"}
    assert {request.value("x-beta") for request in of_service(upstream)} == {"federation"}
    assert WORKLOAD not in str(of_service(upstream))
    assert KEY.format(1) not in str(upstream.requests)
    assert eventually(lambda: [passage.secret for passage in proxy.passages] == [""] * 3)


def test_a_token_that_ends_soon_is_replaced(proxy: Proxied, upstream: Service, issuer: Issuer) -> None:
    issuer.answer = {"expires_in": 0}
    for _ in range(2):
        assert proxy.send().status_code == 200
    tokens = [request.value("authorization") for request in of_service(upstream)]
    assert tokens == [f"Bearer {Issuer.token(number)}" for number in (1, 2)]


def test_a_refused_token_is_not_used_again(proxy: Proxied, upstream: Service, issuer: Issuer) -> None:
    async def refuse(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")

    upstream.answers["/v1/chat"] = refuse
    assert proxy.send("/chat").status_code == 401
    assert proxy.send("/other").status_code == 200
    assert len(issuer.seen) == 2


def test_the_token_never_appears_in_an_answer(proxy: Proxied, upstream: Service) -> None:
    async def echo(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        text = request.value("authorization").encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))

    upstream.answers["/v1/echo"] = echo
    answer = proxy.send("/echo")
    assert answer.status_code == 200
    assert Issuer.token(1) not in answer.text


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden"])
def test_a_refused_identity_is_an_error_without_the_token(
    proxy: Proxied, upstream: Service, issuer: Issuer, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.status = status
    answer = proxy.send()
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "credential_unusable")
    assert f"refused the token with status {status[:3]}" in caplog.text
    assert WORKLOAD not in answer.text + caplog.text
    assert not of_service(upstream)


def test_an_exchange_that_is_busy_is_temporary(proxy: Proxied, issuer: Issuer) -> None:
    issuer.status = "503 Service Unavailable"
    answer = proxy.send()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "credential_unavailable")


@pytest.mark.parametrize("answer", [{"access_token": None}, {"access_token": "two words"}, {"access_token": {"a": 1}}])
def test_an_answer_without_a_usable_token_reaches_no_service(
    proxy: Proxied, upstream: Service, issuer: Issuer, answer: dict[str, Any]
) -> None:
    issuer.answer = answer
    assert proxy.send().status_code == 502
    assert not of_service(upstream)


@pytest.mark.parametrize("text", [None, "", "not-a-jwt", "a.b.c\nd", "é.é.é", "a.b." + "c" * 20_000])
def test_a_file_without_a_token_is_named(
    proxy: Proxied, issuer: Issuer, tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.unlink() if text is None else file.write_text(text)
    assert proxy.send().status_code == 502
    assert str(file) in caplog.text
    assert not issuer.seen


def test_a_redirect_of_the_exchange_is_not_followed(proxy: Proxied, upstream: Service) -> None:
    async def redirect(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")

    upstream.answers["/oauth/token"] = redirect
    assert proxy.send().status_code in (502, 503)
    assert [request.line.split()[1] for request in upstream.requests] == ["/oauth/token"]


def test_a_revocation_of_the_replaced_key_cuts_nothing(upstream: Service, tmp_path: Path) -> None:
    with proxied(upstream, **identity(upstream, tmp_path), after_revocation="refuse") as proxy:
        assert proxy.routes["openai"].settings.secret == PATH
        assert proxy.send().status_code == 200
        proxy.revoke(replaced=False)
        assert proxy.send().status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exchange": {"url": "https://a.example/t", "body": {"a": "b"}}}, "{{identity}} alone"),
        ({"exchange": {"url": "https://a.example/t", "body": {"a": "{{identity}} {{admin.key}}"}}}, "alone"),
        ({"exchange": {"url": "http://a.example/t", "body": {"a": "{{identity}}"}}}, "plain http"),
    ],
)
def test_an_unsafe_exchange_is_refused(upstream: Service, tmp_path: Path, changes: Any, words: str) -> None:
    route = route_settings(upstream.url, **identity(upstream, tmp_path, **changes))
    with pytest.raises(ValidationError, match=words):
        RouteSettings.model_validate(route)


def test_a_route_needs_a_credential_and_says_it_once(upstream: Service, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no credential"):
        RouteSettings.model_validate(route_settings(upstream.url, secret=None))
    route = route_settings(upstream.url, **identity(upstream, tmp_path) | {"field": "key"})
    with pytest.raises(ValidationError, match="belongs to a stored key"):
        RouteSettings.model_validate(route)
