"""The services over HTTP on loopback."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from local.emulators.gcp_iam.emulator import Emulator
from local.emulators.gcp_iam.messages import Answer, Request, invalid
from local.emulators.http_server import Handler, HttpServer, Listener
from local.support.ports import LOOPBACK

PROGRAM: Final = "gcp-iam"


class _Handler(Handler):
    server_version = "GcpIamEmulator"
    server: Listener[Emulator]

    def answer(self, body: bytes) -> Answer:
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        # As the client spells it, which may have come through another port.
        host = self.headers.get("Host", f"{LOOPBACK}:{self.server.server_address[1]}")
        request = Request(self.command, unquote(address.path), query, f"http://{host}", body)
        return self.server.emulator.answer(request)

    def refusal(self) -> Answer:
        return invalid("The request body has no usable length.").answer

    def headers_of(self, answer: Answer, content: bytes) -> Mapping[str, str]:
        return {"Content-Type": "application/json; charset=UTF-8", "Content-Length": str(len(content))}


class Server(HttpServer[Emulator]):
    """Serves an emulator at ``http://127.0.0.1:port`` from construction to :meth:`stop`."""

    program = PROGRAM
    handler = _Handler
