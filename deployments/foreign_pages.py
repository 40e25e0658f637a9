"""Refuses requests of foreign web pages to a server without passwords.

Such a request names another host (DNS rebinding), has a foreign origin, or has a body type that needs no preflight.
Sources: Fetch Standard ("CORS-safelisted request-header", `Origin`), Fetch Metadata Request Headers, RFC 6455, 10.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from deployments.healthy import LOOPBACK

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES: Final = (LOOPBACK, "localhost")
HTTPS: Final = 443
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FOREIGN: Final = frozenset({"cross-site", "same-site"})
"""Values of `Sec-Fetch-Site` for another origin's page."""
POLICY_VIOLATION: Final = 1008
"""The close code of a WebSocket (RFC 6455, 7.4.1)."""


def origins(ports: Iterable[int], names: Iterable[str] = ()) -> list[str]:
    numbers = [*ports]
    # Browsers omit the default port of https.
    ends = ["" if port == HTTPS else f":{port}" for port in numbers]
    return [f"https://{name}{end}" for name in (*NAMES, *names) for end in ends]


@dataclass(frozen=True)
class Refusal:
    status: HTTPStatus
    reason: str


class OwnPagesOnly:
    """ASGI middleware; ``origins``, such as https://127.0.0.1:4200, are those of the server's own pages.

    Its pages may send requests only to these: Prefect's UI (3.9) otherwise contacts an analytics host despite the
    server's setting.
    """

    def __init__(self, application: "ASGIApp", origins: Iterable[str]) -> None:
        self._application = application
        self._origins = frozenset(origins)
        self._hosts = frozenset(origin.partition("://")[2] for origin in self._origins)
        places = ["'self'", *sorted(self._origins), *(f"wss://{host}" for host in sorted(self._hosts))]
        self._policy = (b"content-security-policy", f"connect-src {' '.join(places)}".encode())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        refusal = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._application(scope, receive, self._confined(send) if scope["type"] == "http" else send)
        elif scope["type"] == "http":
            await _answer(refusal, send)
        else:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.reason})

    def _confined(self, send: "Send") -> "Send":
        """Add the hosts that a page may contact (Content Security Policy Level 3, 6.1.2)."""

        async def confined(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), self._policy]}
            await send(message)

        return confined

    def refusal(self, scope: "Scope") -> Refusal | None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        method = scope.get("method", "GET")
        if [host.lower() for host in headers.get("host", [])] not in [[host] for host in self._hosts]:
            return Refusal(HTTPStatus.MISDIRECTED_REQUEST, "the request is for another host")
        pages = headers.get("origin", [])
        if any(page not in self._origins for page in pages):
            return Refusal(HTTPStatus.FORBIDDEN, "the request is of a page from another origin")
        if not pages and _foreign(headers, method):
            return Refusal(HTTPStatus.FORBIDDEN, "the request is of a page from another site")
        if method not in READING and _has_body(headers) and not _is_json(headers):
            return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body has to be said to be application/json")
        return None


def _foreign(headers: dict[str, list[str]], method: str) -> bool:
    """Whether the browser reports another origin's page; a link that a person follows is not one."""
    followed = method == "GET" and headers.get("sec-fetch-mode") == ["navigate"]
    return not followed and not FOREIGN.isdisjoint(headers.get("sec-fetch-site", []))


def _has_body(headers: dict[str, list[str]]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"]


def _is_json(headers: dict[str, list[str]]) -> bool:
    kinds = [kind.partition(";")[0].strip().lower() for kind in headers.get("content-type", [])]
    return kinds == ["application/json"]


async def _answer(refusal: Refusal, send: "Send") -> None:
    body = f'{{"detail": "{refusal.reason}"}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # The rest of the request's body is not read.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
