"""The baseline for the benchmark of the proxy: what a plain asyncio proxy does, without any check or limit.

    python -m benchmarks.bare_proxy PORT UPSTREAM_PORT

It reads a request's head, puts another key into it, sends it on a connection that it keeps for this client, and passes
the answer back as it arrives. It trusts every length, knows one upstream, and never times out.
"""

import asyncio
import sys
from contextlib import suppress

KEY = b"authorization: Bearer sk-00000000000000000000000000000000\r\n"


def length_of(head: bytes) -> int | None:
    """The length of the body; None for chunks."""
    for line in head.split(b"\r\n")[1:]:
        name, _, text = line.partition(b":")
        if name.lower() == b"content-length":
            return int(text)
        if name.lower() == b"transfer-encoding":
            return None
    return 0


def with_key(head: bytes) -> bytes:
    """The head for the upstream."""
    first, *lines = head.split(b"\r\n")[:-2]
    method, target, version = first.split(b" ")
    dropped = (b"authorization", b"host", b"connection")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in dropped]
    target = target.removeprefix(b"/to/service")
    return b"\r\n".join([b" ".join((method, target, version)), b"host: upstream", *kept]) + b"\r\n" + KEY + b"\r\n"


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None) -> None:
    """Pass a body on."""
    while length:
        piece = await reader.read(min(length, 65_536))
        if not piece:
            raise ConnectionError
        length -= len(piece)
        writer.write(piece)
        await writer.drain()
    while length is None:
        line = await reader.readuntil(b"\r\n")
        piece = await reader.readexactly(int(line, 16) + 2)
        writer.write(line + piece)
        await writer.drain()
        if len(piece) == 2:
            return


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Serve one client until it closes."""
    above, below = await asyncio.open_connection("127.0.0.1", port)
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            below.write(with_key(head))
            await relay(reader, below, length_of(head))
            answer = await above.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await relay(above, writer, length_of(answer))
    below.close()
    writer.close()


async def serve(port: int, upstream: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(lambda reader, writer: converse(reader, writer, upstream), "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
