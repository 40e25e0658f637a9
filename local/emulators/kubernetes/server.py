"""The API server over HTTPS on loopback."""

from collections.abc import Mapping
from typing import Final

from local.emulators.http_server import Handler, HttpsServer, Listener
from local.emulators.kubernetes.emulator import Emulator
from local.emulators.kubernetes.messages import Answer, Refusal, Request

PROGRAM: Final = "kubernetes"


class _Handler(Handler):
    server_version = "KubernetesEmulator"
    max_body = 3 << 20  # what the API server takes at once
    max_dropped = 16 << 20
    server: Listener[Emulator]

    def answer(self, body: bytes) -> Answer:
        request = Request(self.command, self.parts(), self.query(), self.lowered(), body)
        return self.server.emulator.answer(request)

    def refusal(self) -> Answer:
        return Refusal(413, f"Request entity too large: limit is {self.max_body}").answer

    def headers_of(self, answer: Answer, content: bytes) -> Mapping[str, str]:
        return {
            "Cache-Control": "no-cache, private",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **answer.headers,
        }


class Server(HttpsServer[Emulator]):
    """Serves an emulator at ``https://localhost:port`` from construction to :meth:`stop`."""

    program = PROGRAM
    handler = _Handler
