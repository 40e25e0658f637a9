"""TLS before a PostgreSQL that was built without: ``python postgres_tls.py --port N --socket FILE --cert F --key F``.

The server itself listens on a Unix socket that its owner alone reaches; whoever comes to the port has to speak TLS,
and what they say then is passed on as it is. Codes are from "Message Formats" in PostgreSQL's documentation.

Run by its path, and with the standard library alone, so that it is there as soon as the server.
"""

import argparse
import asyncio
import signal
import socket
import ssl
import struct
import sys
from collections.abc import Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
PATIENCE = 10.0
"""Seconds that a client has to begin, and to finish its handshake."""
CHUNK = 65_536
BACKLOG = 128
LONGEST = 10_000
"""The longest that a client's first message may be. Source: MAX_STARTUP_PACKET_LENGTH in PostgreSQL's sources."""

REFUSAL = b"SFATAL\0VFATAL\0C28000\0Mthis server takes connections over TLS only: set sslmode=verify-full\0\0"


async def serve(listener: socket.socket, upstream: str, context: ssl.SSLContext) -> None:
    """Take connections until the task is cancelled, each on its own."""
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    while True:
        client, _ = await loop.sock_accept(listener)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.create_task(connection(client, upstream, context))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def connection(client: socket.socket, upstream: str, context: ssl.SSLContext) -> None:
    """Carry one client's session, over TLS or not at all."""
    with closing(client), suppress(OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
        length, code = await asyncio.wait_for(first_request(client), PATIENCE)
        if code == SSL_REQUEST:
            await session(client, upstream, context)
        elif code == CANCEL_REQUEST:
            await cancel(client, upstream, struct.pack("!II", length, code))
        else:
            # What is left unread would have the answer thrown away with the connection.
            await asyncio.wait_for(exactly(client, length - 8), PATIENCE)
            answer = b"E" + struct.pack("!I", len(REFUSAL) + 4) + REFUSAL
            await asyncio.get_running_loop().sock_sendall(client, answer)


async def first_request(client: socket.socket) -> tuple[int, int]:
    """The length and the code that a client begins with; encryption of GSSAPI is declined.

    Raises EOFError for a length that no client of PostgreSQL says.
    """
    while True:
        length, code = struct.unpack("!II", await exactly(client, 8))
        if not 8 <= length <= LONGEST:
            raise EOFError
        if code != GSS_REQUEST:
            return length, code
        await asyncio.get_running_loop().sock_sendall(client, b"N")


async def exactly(client: socket.socket, size: int) -> bytes:
    """So many bytes and none beyond: what was sent in clear must not be taken for the beginning of a TLS session."""
    read = b""
    while len(read) < size:
        chunk = await asyncio.get_running_loop().sock_recv(client, size - len(read))
        if not chunk:
            raise EOFError
        read += chunk
    return read


async def session(client: socket.socket, upstream: str, context: ssl.SSLContext) -> None:
    """Shake hands, then pass everything on until one side has had enough."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"S")
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, client, ssl=context, ssl_handshake_timeout=PATIENCE, ssl_shutdown_timeout=PATIENCE
    )
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        server_reader, server_writer = await asyncio.open_unix_connection(upstream)
        with closing(server_writer):
            await first_to_end(carry(reader, server_writer), carry(server_reader, writer))
    finally:
        # The socket is the transport's until that is through with it: its number may be another client's then.
        writer.close()
        await writer.wait_closed()


async def first_to_end(*ways: Coroutine[Any, Any, None]) -> None:
    """Wait for one direction to end, and leave the other."""
    tasks = [asyncio.create_task(way) for way in ways]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more."""
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()


async def cancel(client: socket.socket, upstream: str, head: bytes) -> None:
    """Pass on that a query is to be cancelled, which libpq asks for in clear, too: its key is good for nothing else."""
    body = await asyncio.wait_for(exactly(client, 8), PATIENCE)
    _, writer = await asyncio.open_unix_connection(upstream)
    with closing(writer):
        writer.write(head + body)
        await writer.drain()


async def run(listener: socket.socket, upstream: str, context: ssl.SSLContext) -> None:
    """Serve until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(serve(listener, upstream, context))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Serve until told to stop; 1 where the port or the certificate can't be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", required=True, help="the server's Unix socket")
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.cert, options.key)
        with socket.create_server((LOOPBACK, options.port), backlog=BACKLOG) as listener:
            listener.setblocking(False)
            asyncio.run(run(listener, options.socket, context))
    except OSError as error:
        sys.stderr.write(f"postgres-tls: can't serve on {LOOPBACK}:{options.port}: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
