"""A service behind the proxy: each path is answered by a function that has the connection to itself."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Received:
    """A request as its bytes arrived."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def value(self, name: str) -> str:
        return next((text for header, text in self.headers if header.lower() == name), "")


Answer = Callable[[Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Service:
    """The requests that arrived, and how each path is answered; ``plain`` answers all others."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    lost: list[str] = field(default_factory=list)
    """The paths whose client left before the answer's end."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _read(reader)
                self.requests.append(request)
                path = request.line.split(" ")[1].partition("?")[0]
                try:
                    await self.answers.get(path, plain)(request, reader, writer)
                    await writer.drain()
                except ConnectionError:
                    self.lost.append(path)
                if writer.is_closing():
                    break
        writer.close()


async def plain(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the credential's length and the body's, never with themselves."""
    text = f"{len(request.value('authorization'))} {len(request.body)}".encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))


def says(data: bytes, *, close: bool = True) -> Answer:
    """Answer these bytes, whatever was asked."""

    async def answer(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return answer


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")[:-2]
    pairs = [tuple(text.split(": ", 1)) for text in rest]
    request = Received(line, [(name, text) for name, text in pairs])
    if request.value("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            request.body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif length := int(request.value("content-length") or 0):
        request.body = await reader.readexactly(length)
    return request


@contextmanager
def service(tls: ssl.SSLContext | None = None, **answers: Answer) -> Iterator[Service]:
    """A service on a free port of loopback, in a thread."""
    made, loop, ended = (
        Service({f"/{name}": answer for name, answer in answers.items()}),
        asyncio.new_event_loop(),
        None,
    )

    async def serve() -> None:
        nonlocal ended
        ended = asyncio.Event()
        server = await asyncio.start_server(made.converse, "127.0.0.1", 0, ssl=tls)
        made.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ended.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    ready = threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield made
    finally:
        assert ended is not None
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
