"""The vault, or another of Azure's services, over HTTPS on loopback."""

import uuid
from collections.abc import Mapping
from typing import Final, Protocol, TypeVar

from local.emulators.azure_key_vault.messages import Answer, Request, bad_parameter
from local.emulators.http_server import Handler, HttpsServer, Listener
from local.support.ports import LOOPBACK

PROGRAM: Final = "azure-key-vault"


class Emulator(Protocol):
    """What is served: one function from request to answer."""

    def answer(self, request: Request) -> Answer:
        """The answer to any call; refusals are answers too."""

    def close(self) -> None:
        """Let go of everything."""


Served = TypeVar("Served", bound=Emulator)


class _Handler(Handler):
    server_version = "AzureKeyVaultEmulator"
    server: Listener[Emulator]

    def answer(self, body: bytes) -> Answer:
        base = f"https://{self.headers.get('Host', LOOPBACK)}"
        request = Request(self.command, self.parts(), self.query(), self.lowered(), base, body)
        return self.server.emulator.answer(request)

    do_HEAD = do_OPTIONS = Handler.serve  # noqa: N815 (the names that http.server looks for)

    def refusal(self) -> Answer:
        return bad_parameter("The request body has no usable length").answer

    def headers_of(self, answer: Answer, content: bytes) -> Mapping[str, str]:
        return {
            "Cache-Control": "no-cache",
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(content)),
            "X-Content-Type-Options": "nosniff",
            "x-ms-request-id": str(uuid.uuid4()),
            "x-ms-keyvault-region": "local",
            **answer.headers,
        }


class Server(HttpsServer[Served]):
    """Serves an emulator at ``https://localhost:port`` from construction to :meth:`stop`."""

    program = PROGRAM
    handler = _Handler
