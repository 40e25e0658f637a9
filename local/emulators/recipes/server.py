"""The emulator over HTTP. It stands in for every host that the recipe names, each below ``/@HOST``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from local.emulators.http_server import Handler, HttpServer, Listener
from local.emulators.recipes.matching import Received

URLS: Final = frozenset({"url", "test_url"})
"""The settings of a target and its login that say where requests go; other texts may name an address too."""


@dataclass(frozen=True)
class Answer:
    """``body`` is JSON data; None for an empty answer."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()


class Service:
    """What a mechanism's emulator answers."""

    def answer(self, received: Received) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        """Keep nothing."""


class _Handler(Handler):
    server_version = "RecipeEmulator"
    server: Listener[Service]

    def answer(self, body: bytes) -> Answer:
        return self.server.emulator.answer(Received(self.command, self.path, self.lowered(), body))

    def refusal(self) -> Answer:
        return Answer(400, {"error": "the body has no usable length"})

    def headers_of(self, answer: Answer, content: bytes) -> Mapping[str, str]:
        kind = {"Content-Type": "application/json"} if content else {}
        length = {"Content-Length": str(len(content))} if answer.status != 204 else {}
        return {**answer.headers, **kind, **length}


class RecipeServer(HttpServer[Service]):
    """Serves one recipe at ``http://127.0.0.1:port`` from construction to :meth:`stop`."""

    program: Final = "recipe"  # type: ignore[misc]
    handler = _Handler


def base_of(url: str) -> str:
    """The path below which the emulator serves a service's address."""
    parts = urlsplit(url)
    return f"/@{parts.netloc}{parts.path.rstrip('/')}"


def redirected(data: Any, server: str) -> Any:
    """Settings with every address that requests go to replaced by the emulator's."""
    if isinstance(data, dict):
        return {
            key: server + base_of(inner) if key in URLS and isinstance(inner, str) else redirected(inner, server)
            for key, inner in data.items()
        }
    return data
