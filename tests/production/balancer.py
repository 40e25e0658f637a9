"""The one address that clients have for several servers: Debian's HAProxy, which asks each whether it is ready.

Suspended, it is a network that is cut: connections stay open and nothing comes through, either way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.programs import find_program
from local.support.ports import LOOPBACK, free_port, in_use
from local.support.process import Process

SETTINGS = """\
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  default-server inter 1s fall 2 rise 1
"""


@dataclass(frozen=True)
class Route:
    """``ports`` are those of the servers behind it; ``ready`` is the path that a server answers once it is ready."""

    ports: Sequence[int]
    ready: str | None = None

    def backend(self, name: str, port: int) -> str:
        """Its part of HAProxy's configuration."""
        lines = [f"listen {name}", f"  bind {LOOPBACK}:{port}"]
        if self.ready:
            # What was not sent to the server is sent to another; what was may have been done.
            lines += ["  mode http", "  option redispatch", "  retries 3", "  retry-on conn-failure"]
            lines += [f"  option httpchk GET {self.ready}", "  http-check expect status 200"]
        check = " check" if self.ready else ""
        lines += [f"  server {name}-{number} {LOOPBACK}:{to}{check}" for number, to in enumerate(self.ports)]
        return "\n".join(lines) + "\n"


class Balancer:
    """One HAProxy under ``directory``, with a port of its own for each route."""

    def __init__(self, directory: Path, routes: Mapping[str, Route]) -> None:
        self.process = Process("balancer", directory)
        self.ports = {name: free_port() for name in routes}
        self._config = directory / "haproxy.cfg"
        self._routes = routes

    def start(self) -> None:
        """Start it unless it runs, and return when it listens."""
        self._config.parent.mkdir(parents=True, exist_ok=True)
        parts = [route.backend(name, self.ports[name]) for name, route in self._routes.items()]
        self._config.write_text("\n".join([SETTINGS, *parts]))
        server = find_program("haproxy")
        command = [str(server.path), "-db", "-f", str(self._config)]
        ready = lambda: all(map(in_use, self.ports.values()))  # noqa: E731
        self.process.start(command, ready=ready, environment=server.environment)
