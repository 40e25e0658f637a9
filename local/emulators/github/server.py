"""The API over HTTP on loopback."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from local.emulators.github.emulator import Emulator
from local.emulators.github.messages import Answer, Refusal, Request
from local.emulators.http_server import Handler, HttpServer, Listener

PROGRAM: Final = "github"
SCHEMES: Final = ("bearer", "token")


class _Handler(Handler):
    server_version = "GitHubEmulator"
    server: Listener[Emulator]

    def answer(self, body: bytes) -> Answer:
        if not self.headers.get("User-Agent"):
            return Refusal(403, "Request forbidden by administrative rules.").answer
        address = urlsplit(self.path)
        parts = tuple(unquote(part) for part in address.path.strip("/").split("/"))
        query = parse_qs(address.query, keep_blank_values=True)
        return self.server.emulator.answer(Request(self.command, parts, query, self._token(), body))

    def _token(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() in SCHEMES else ""

    def refusal(self) -> Answer:
        return Refusal(400, "The request body has no usable length.").answer

    def headers_of(self, answer: Answer, content: bytes) -> Mapping[str, str]:
        kind = {"Content-Type": "application/json; charset=utf-8"} if content else {}
        length = {"Content-Length": str(len(content))} if answer.status != 204 else {}
        return {**answer.headers, **kind, **length}


class Server(HttpServer[Emulator]):
    """Serves an emulator at ``http://127.0.0.1:port``, or over TLS, from construction to :meth:`stop`."""

    program = PROGRAM
    handler = _Handler
