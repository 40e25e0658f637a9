"""`keyturn proxy` in this process, in front of a service of the test."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from keyturn.agent.application import Agent
from keyturn.agent.caller_auth import NoEntrance
from keyturn.agent.plain_names import PlainNames
from keyturn.agent.proxy.callers import Placeholders
from keyturn.agent.proxy.gateway import Gateway, Misuse, Passage
from keyturn.agent.proxy.routes import Route
from keyturn.catalogue.routes import RouteSettings
from keyturn.cli.programs.proxy_routes import identity_tokens
from keyturn.client.client import SecretClient
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.core.sensitive import Sensitive
from tests.support.agent import serving
from tests.support.served import MADE, MemorySource
from tests.support.upstream import Service

KEY = "sk-live-{}-0123456789abcdef"
PATH = "ai/openai"
PLACEHOLDERS = {"trainer": "kt-placeholder-of-the-trainer", "gateway": "kt-placeholder-of-the-gateway"}


@dataclass
class Proxied:
    """A proxy with one route, ``openai``, unless others are given."""

    service: Service
    source: MemorySource
    client: SecretClient
    routes: dict[str, Route]
    events: list[Passage | Misuse] = field(default_factory=list)
    url: str = ""
    gateway: Gateway = field(init=False)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def passages(self) -> list[Passage]:
        return [event for event in self.events if isinstance(event, Passage)]

    def send(
        self,
        path: str = "/chat",
        method: str = "POST",
        caller: str = "trainer",
        route: str = "openai",
        **arguments: Any,
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {PLACEHOLDERS[caller]}", **arguments.pop("headers", {})}
        url = f"{self.url}/to/{route}{path}"
        return requests.request(method, url, headers=headers, timeout=30, allow_redirects=False, **arguments)

    def raw(self, data: bytes, pause: float = 0.3) -> bytes:
        """What comes back on a connection until it is closed, or nothing more comes for ``pause`` seconds."""
        answer = b""
        with closing(socket.create_connection(("127.0.0.1", self.port), 30)) as connection:
            connection.settimeout(30)
            with suppress(OSError):
                connection.sendall(data)
                while piece := connection.recv(65_536):
                    answer += piece
                    connection.settimeout(pause)
        return answer

    def rotate(self) -> None:
        """Serve the next version of the key, and deliver the notice."""
        number = self.source.served[PATH] + 1
        self.gateway.told(self.source.put(PATH, {"key": KEY.format(number)}))

    def revoke(self, *, replaced: bool = True) -> None:
        """End the key, and deliver the notice."""
        version = self.source.served[PATH]
        if replaced:
            self.source.put(PATH, {"key": KEY.format(version + 1)})
            self.gateway.told(Notice(SECRET_REVOKED, PATH, version + 1, MADE))
        else:
            del self.source.served[PATH]
            self.gateway.told(Notice(SECRET_REVOKED, PATH, version, MADE, replaced=False))


def route_settings(service_url: str, **changes: Any) -> dict[str, Any]:
    """A route's settings with these changes, of which None removes a key."""
    settings = {
        "secret": PATH,
        "field": "key",
        "url": f"{service_url}/v1",
        "allow": [{"methods": ["GET", "HEAD", "POST"], "paths": ["/**"]}],
        "callers": ["trainer"],
        **changes,
    }
    return {key: value for key, value in settings.items() if value is not None}


@contextmanager
def proxied(
    service: Service,
    routes: Mapping[str, Mapping[str, Any]] | None = None,
    counts: Path | None = None,
    **changes: Any,
) -> Iterator[Proxied]:
    """A proxy before ``service``, whose one route has these changes; or other routes, by name."""
    every = routes or {"openai": changes}
    settings = {
        name: RouteSettings.model_validate(route_settings(service.url, **changed)) for name, changed in every.items()
    }
    source = MemorySource()
    source.put(PATH, {"key": KEY.format(1)})
    with ExitStack() as stack:
        client = stack.enter_context(SecretClient([source], poll=0, patience=1))
        client.get(PATH)
        made = Proxied(service, source, client, {name: Route(name, model) for name, model in settings.items()})
        placeholders = Placeholders({name: Sensitive(text) for name, text in PLACEHOLDERS.items()})
        identities = {name: identity_tokens(name, r.identity) for name, r in settings.items() if r.identity}
        made.gateway = Gateway(
            client,
            lambda: made.routes,
            lambda: placeholders,
            made.events.append,
            identities=lambda: identities,
            counts=counts,
        )
        stack.callback(made.gateway.close)
        agent = Agent(client, PlainNames, on_notice=made.gateway.told)
        made.url = stack.enter_context(serving(agent, NoEntrance(made.gateway.watch), streamer=made.gateway))
        yield made
