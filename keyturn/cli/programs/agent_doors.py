"""Where an agent listens, and what it reloads on SIGHUP."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.cli.failures import say
from keyturn.cli.output import note
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    import ssl

    from keyturn.agent.application import Agent, Names
    from keyturn.agent.caller_auth import Entrance, LocalEntrance
    from keyturn.agent.decisions import Decisions
    from keyturn.agent.http import Door, Streamer
    from keyturn.catalogue import Catalogue
    from keyturn.wiring.sources import SourceOpener


class Latest:
    """The names of copies, from the catalogue last read. ``use`` takes each later catalogue, too."""

    def __init__(
        self, opener: "SourceOpener", directory: Path | None, use: "Callable[[Catalogue], object]" = bool
    ) -> None:
        self._directory = directory
        self._use = use
        self.names = callers_names(opener.declared)

    def reload(self) -> None:
        """Read the catalogue again. Raises Invalid; the names then stay unchanged."""
        if self._directory:
            from keyturn.catalogue import load_catalogue

            catalogue = load_catalogue(self._directory, os.environ)
            self._use(catalogue)
            self.names = callers_names(catalogue)


def callers_names(catalogue: "Catalogue | None") -> "Names":
    if catalogue is None:
        from keyturn.agent.plain_names import PlainNames

        return PlainNames()
    from keyturn.agent.names import AwsNames

    return AwsNames.of(catalogue)


@dataclass
class Doors:
    """Where the agent listens, and what it reloads on SIGHUP."""

    stack: ExitStack
    agent: "Agent"
    latest: Latest
    token_file: Path | None
    token_mode: int
    all: list["Door"] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    _reloads: list[Callable[[], None]] = field(default_factory=list)

    def add_local(self, port: int) -> None:
        from keyturn.agent.http import Door
        from keyturn.agent.sockets import open_loopback

        entrance, place = self._entrance(hosts=True)
        listener = self.stack.enter_context(open_loopback(port))
        self.all.append(Door(listener, self.agent.behind(entrance)))
        self.places.append(f"http://127.0.0.1:{port}, token in {place}")

    def add_socket(self, path: Path) -> None:
        from keyturn.agent.http import Door
        from keyturn.agent.sockets import open_file

        entrance, place = self._entrance(hosts=False)
        listener = self.stack.enter_context(open_file(path))
        self.stack.callback(path.unlink, missing_ok=True)
        self.all.append(Door(listener, self.agent.behind(entrance)))
        self.places.append(f"socket {path}, token in {place}")

    def add_listener(self, place: str, cert: Path | None, key: Path | None, decisions: "Decisions") -> None:
        from keyturn.agent.caller_auth import HubEntrance
        from keyturn.agent.http import Door
        from keyturn.agent.sockets import open_at

        contexts = self._contexts(cert, key) if cert and key else None
        self._reloads.append(decisions.forget)
        listener = self.stack.enter_context(open_at(place, tls=contexts is not None))
        self.all.append(Door(listener, self.agent.behind(HubEntrance(decisions)), contexts))
        self.places.append(f"{'https' if contexts else 'http'}://{place}, for logins of the hub")

    def add_proxy(self, port: int, entrance: "Entrance", streamer: "Streamer", placeholders: Path) -> None:
        from keyturn.agent.http import Door
        from keyturn.agent.sockets import open_loopback

        listener = self.stack.enter_context(open_loopback(port))
        self.all.append(Door(listener, self.agent.behind(entrance), None, streamer))
        self.places.append(f"http://127.0.0.1:{port}/to/ROUTE, placeholders in {placeholders}")

    def add_users(self, path: Path, entrance: "Entrance", streamer: "Streamer") -> None:
        """A socket that every user may connect to: the proxy asks the kernel who it is."""
        from keyturn.agent.http import Door
        from keyturn.agent.sockets import open_file

        listener = self.stack.enter_context(open_file(path, 0o666))
        self.stack.callback(path.unlink, missing_ok=True)
        self.all.append(Door(listener, self.agent.behind(entrance), None, streamer))
        self.places.append(f"socket {path}, for users of routes")

    def add_notices(self, place: str, cert: Path | None, key: Path | None, entrance: "Entrance") -> None:
        from keyturn.agent.http import Door
        from keyturn.agent.sockets import open_at

        contexts = self._contexts(cert, key) if cert and key else None
        listener = self.stack.enter_context(open_at(place, tls=contexts is not None, sent="notices"))
        self.all.append(Door(listener, self.agent.behind(entrance), contexts))
        self.places.append(f"{'https' if contexts else 'http'}://{place}, for notices")

    def reload(self) -> None:
        """Reload everything that may have changed. On an error, report it and keep the previous state."""
        for again in (self.latest.reload, *self._reloads):
            try:
                again()
            except KeyturnError as error:
                say(error)
            except OSError as error:
                note(f"can't read {error.filename}: {error.strerror}; the one before is used on")
        note("reloaded")

    def _entrance(self, *, hosts: bool) -> "tuple[LocalEntrance, str]":
        from keyturn.agent.caller_auth import LocalEntrance
        from keyturn.agent.token_file import token_from

        token, place = token_from(os.environ, self.token_file, self.token_mode)
        entrance = LocalEntrance(token, hosts=hosts)

        def again() -> None:
            entrance.token = token_from(os.environ, self.token_file, self.token_mode)[0]

        self._reloads.append(again)
        return entrance, place

    def _contexts(self, cert: Path, key: Path) -> "Callable[[], ssl.SSLContext]":
        from keyturn.agent.sockets import server_tls

        context = [server_tls(cert, key)]

        def again() -> None:
            context[0] = server_tls(cert, key)

        self._reloads.append(again)
        return lambda: context[0]
