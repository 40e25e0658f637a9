"""A slow network: what a client sends arrives later, in order; what a server answers arrives at once.

    python -m benchmarks.latency --delay-ms 20 31001:31000 31003:31002

Each pair is a port to listen on and the port behind it, both on loopback. It is independent of the protocol, so it
serves HTTP, HTTPS and gRPC alike: every request, and every step of a handshake, takes that much longer.
"""

import argparse
import asyncio
import socket
import sys
from collections import deque
from pathlib import Path
from typing import cast

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from local.support.ports import LOOPBACK
from local.support.process import Process


class Behind(asyncio.Protocol):
    """The connection to the server: its data goes to the client at once."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has hung up."""
        self._client.close()


class Client(asyncio.Protocol):
    """The connection of a client: its data waits for ``delay`` seconds."""

    def __init__(self, port: int, delay: float) -> None:
        self._port = port
        self._delay = delay
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._server: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the connection to the server."""
        client = cast(asyncio.Transport, transport)
        at_once(client)
        self._opening = self._loop.create_task(self._open(client))

    def data_received(self, data: bytes) -> None:
        """Keep it until its delay is over."""
        self._waiting.append((self._loop.time() + self._delay, data))
        if len(self._waiting) == 1:
            self._loop.call_later(self._delay, self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has hung up."""
        if self._server is not None:
            self._server.close()

    async def _open(self, client: asyncio.Transport) -> None:
        server, _ = await self._loop.create_connection(lambda: Behind(client), LOOPBACK, self._port)
        at_once(server)
        self._server = server

    def _send(self) -> None:
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now + 0.0005 and self._server is not None:
            self._server.write(self._waiting.popleft()[1])
        if self._waiting:
            self._loop.call_later(max(0.0005, self._waiting[0][0] - now), self._send)


def at_once(transport: asyncio.Transport) -> None:
    """Let small packets leave without waiting for others."""
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class FarAway:
    """The proxy as a process of its own: ``ports`` maps the ports it listens on to those behind them."""

    def __init__(self, directory: Path, ports: dict[int, int], delay_ms: float) -> None:
        pairs = [f"{outer}:{inner}" for outer, inner in ports.items()]
        self._command = [sys.executable, "-m", "benchmarks.latency", f"--delay-ms={delay_ms}", *pairs]
        self.process = Process("latency", directory)

    def __enter__(self) -> "FarAway":
        root = Path(__file__).parent.parent
        self.process.start(self._command, ready=lambda: self.process.says("^ready"), cwd=root)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


async def serve(pairs: list[str], delay: float) -> None:
    """Listen until the process is ended."""
    loop = asyncio.get_running_loop()
    for outer, inner in (map(int, pair.split(":")) for pair in pairs):
        await loop.create_server(lambda inner=inner: Client(inner, delay), LOOPBACK, outer, backlog=256)  # type: ignore[misc]
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve the pairs of ports on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-ms", type=float, required=True)
    parser.add_argument("pairs", nargs="+", metavar="LISTEN:BEHIND")
    options = parser.parse_args()
    asyncio.run(serve(options.pairs, options.delay_ms / 1000))


if __name__ == "__main__":
    main()
