"""Runs one agent until SIGTERM, and reloads it on SIGHUP."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from keyturn.agent.http import Door, Server

GRACE_SECONDS: Final = 5.0
NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"


async def serve(doors: Sequence[Door], reload: Callable[[], None], ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP calls ``reload`` in a thread; ``ready`` is called with all doors open."""
    loop, ended, server = asyncio.get_running_loop(), asyncio.Event(), Server()
    reloads: set[asyncio.Future[None]] = set()

    def take_up() -> None:
        future = loop.run_in_executor(None, reload)
        reloads.add(future)
        future.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, take_up)
    for door in doors:
        server.open(door)
    ready()
    tell_supervisor("READY=1")
    await ended.wait()
    tell_supervisor("STOPPING=1")
    await server.close(GRACE_SECONDS)
    for door in doors:
        door.listener.close()


def tell_supervisor(state: str) -> None:
    """Notify systemd (sd_notify(3)), where it started this, without waiting."""
    address = os.environ.get(NOTIFY_SOCKET, "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as supervisor:
        supervisor.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
