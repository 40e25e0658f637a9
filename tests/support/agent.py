"""An agent's server in this process, for tests that speak to it."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests

from keyturn.agent.application import Agent
from keyturn.agent.caller_auth import Entrance
from keyturn.agent.http import CONNECTIONS, Door, Server, Streamer
from keyturn.agent.sockets import open_loopback
from keyturn.core.sensitive import Sensitive

TOKEN = Sensitive("a-token-for-programs-of-this-host")
HEADERS = {"X-Aws-Parameters-Secrets-Token": TOKEN.reveal()}


@contextmanager
def serving(
    agent: Agent,
    entrance: Entrance,
    tls: Callable[[], ssl.SSLContext] | None = None,
    connections: int = CONNECTIONS,
    streamer: Streamer | None = None,
) -> Iterator[str]:
    """The address of an agent that serves behind one door, in a thread of its own."""
    listener = open_loopback(0)
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = Server(connections)
        server.open(Door(listener, agent.behind(entrance), tls, streamer))
        ready.set()
        await ended.wait()
        await server.close(grace=1)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        host = "localhost" if tls else "127.0.0.1"
        yield f"{'https' if tls else 'http'}://{host}:{listener.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
        listener.close()
        agent.close()


def ask(url: str, method: str = "GET", **arguments: Any) -> requests.Response:
    """One request on a connection of its own."""
    return requests.request(method, url, timeout=60, **arguments)
