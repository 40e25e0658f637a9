"""An HTTP/1.1 server with limits on sizes and waits, so that no client can block it.

h11 implements the protocol. A request and its answer have ten seconds each. Above the limit of connections, the longest
idle one is closed.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol, cast

import h11

log = logging.getLogger(__name__)

HEAD_BYTES: Final = 16_384
BODY_BYTES: Final = 65_536
CONNECTIONS: Final = 800
"""The limit of AWS's agent, and of concurrent requests here."""
BESIDE: Final = 32
"""Connections above that limit, which only receive a refusal."""
HANDSHAKE_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 60.0
WRITE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0
CHUNK: Final = 65_536
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True)
class HttpRequest:
    """A request. ``path`` and ``query`` are unchanged; ``peer`` is empty for a Unix socket."""

    method: str
    path: str
    query: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    peer: str = ""

    def values(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]


@dataclass(frozen=True)
class HttpAnswer:
    """An answer. ``headers`` are additional, with names in lower case."""

    status: int
    body: str = field(default="", repr=False)
    kind: str = TEXT
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


Handler = Callable[[HttpRequest], Awaitable[HttpAnswer]]

CROWDED: Final = HttpAnswer(HTTPStatus.TOO_MANY_REQUESTS, "Connection limit exceeded")
UNCROWDED: Final = frozenset({"/ping"})
"""Paths that are answered even then."""


@dataclass(frozen=True)
class Caller:
    """An accepted connection. ``began`` and ``ended`` count a request; ``began`` returns whether there are too many."""

    began: Callable[[], bool]
    ended: Callable[[], None]
    closing: Callable[[], bool]


class Streamer(Protocol):
    """Answers some requests of a door piece by piece, on connections that it reads itself."""

    def connection(self, caller: Caller) -> "StreamedConnection":
        """The protocol of a new connection."""

    def end(self) -> None:
        """Close everything that is left; no more connections come."""


class StreamedConnection(asyncio.Protocol):
    """A connection that the streamer reads until :attr:`over`.

    Its result is the bytes of a request for others, after which nothing is read; None at the end of the connection.
    """

    over: "asyncio.Future[bytes | None]"


@dataclass(frozen=True)
class Door:
    """A listening socket, its handler, its TLS context for each connection, and what answers streams first."""

    listener: socket.socket
    handler: Handler
    tls: Callable[[], ssl.SSLContext] | None = None
    streamer: Streamer | None = None


class Server:
    """Serves doors from :meth:`open` to :meth:`close`, in one event loop."""

    def __init__(self, connections: int = CONNECTIONS) -> None:
        self._limit = connections
        self._accepting: list[asyncio.Task[None]] = []
        self._waiting: dict[asyncio.Task[None], None] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._streamers: list[Streamer] = []
        self._closing = False

    def open(self, door: Door) -> None:
        door.listener.setblocking(False)
        if door.streamer:
            self._streamers.append(door.streamer)
        self._accepting.append(asyncio.create_task(self._accept(door)))

    async def close(self, grace: float = 5.0) -> None:
        """Accept no more connections; running requests have ``grace`` seconds to end."""
        self._closing = True
        for task in (*self._accepting, *self._waiting):
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy, timeout=grace)
        tasks = [*self._accepting, *self._waiting, *self._busy]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the connections' ends are called back
        for streamer in self._streamers:
            streamer.end()
        await asyncio.sleep(0)

    async def _accept(self, door: Door) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(door.listener)
            except OSError as error:
                # Without a free file descriptor, the next call would fail at once.
                log.warning("no connection can be taken: %s", errno.errorcode.get(error.errno or 0, "unknown"))
                await asyncio.sleep(0.1)
                continue
            if not self._make_room():
                client.close()
                continue
            task = asyncio.create_task(self._converse(door, client))
            self._waiting[task] = None
            task.add_done_callback(partial(self._left, client))
            # A new connection can send its request before it would have to make room.
            await asyncio.sleep(0)

    def _make_room(self) -> bool:
        """Whether to accept one more connection, after closing the longest idle one if necessary."""
        if len(self._waiting) + len(self._busy) < self._limit:
            return True
        if self._waiting:
            idle = next(iter(self._waiting))
            del self._waiting[idle]
            idle.cancel()
            return True
        return len(self._busy) < self._limit + BESIDE

    def _left(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        client.close()
        self._waiting.pop(task, None)
        self._busy.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a connection ended with %s", type(error).__name__)

    async def _converse(self, door: Door, client: socket.socket) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=CHUNK)
        protocol = asyncio.StreamReaderProtocol(reader)
        streamed = self._streamed(door.streamer) if door.streamer else None
        times = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": CLOSE_SECONDS} if door.tls else {}
        try:
            tls = door.tls() if door.tls else None
            transport, _ = await loop.connect_accepted_socket(lambda: streamed or protocol, client, ssl=tls, **times)
        except OSError:
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            if streamed:
                if (data := await streamed.over) is None:
                    return
                transport.set_protocol(protocol)
                protocol.connection_made(transport)
                reader.feed_data(data)
                transport.resume_reading()
            transport.set_write_buffer_limits(0)
            # The streamer decides about each request of a connection, so this one answers a single request.
            await Conversation(reader, writer, door.handler, self._occupied).run(
                lambda: self._closing or bool(streamed)
            )
            writer.close()
            async with asyncio.timeout(CLOSE_SECONDS):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            return  # the client has closed, or the wait was long enough
        finally:
            transport.abort()

    @contextmanager
    def _occupied(self, request: HttpRequest) -> Iterator[bool]:
        """Count a request until its answer is received; yields whether there are too many."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            yield self._began(task) and request.path not in UNCROWDED
        finally:
            self._ended(task)

    def _began(self, task: "asyncio.Task[None]") -> bool:
        self._waiting.pop(task, None)
        self._busy.add(task)
        return len(self._busy) > self._limit

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._busy.discard(task)
        if not task.done():
            self._waiting[task] = None

    def _streamed(self, streamer: Streamer) -> StreamedConnection:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        began, ended = partial(self._began, task), partial(self._ended, task)
        return streamer.connection(Caller(began, ended, lambda: self._closing))


class Conversation:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handler: Handler,
        occupied: Callable[[HttpRequest], AbstractContextManager[bool]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._occupied = occupied
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        name = writer.get_extra_info("peername")
        self._peer = str(name[0]) if isinstance(name, tuple) else ""

    async def run(self, ends: Callable[[], bool]) -> None:
        """Serve until the client closes, or the server ``ends``. Raises TimeoutError, OSError."""
        idle = REQUEST_SECONDS
        while True:
            try:
                request = await self._next(idle)
            except h11.RemoteProtocolError as error:
                return await self._refuse(error.error_status_hint)
            except OverflowError:
                return await self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            if request is None:
                return None
            with self._occupied(request) as crowded:
                answer = CROWDED if crowded else await self._handler(request)
                await self._send(answer, request.method, close=crowded or ends())
            if self._wire.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return None
            self._wire.start_next_cycle()
            idle = IDLE_SECONDS

    async def _next(self, idle: float) -> HttpRequest | None:
        head, body = None, bytearray()
        async with asyncio.timeout(idle) as limit:
            while True:
                event = self._wire.next_event()
                if event is h11.NEED_DATA:
                    data = await self._reader.read(CHUNK)
                    if idle:
                        limit.reschedule(asyncio.get_running_loop().time() + REQUEST_SECONDS)
                        idle = 0
                    self._wire.receive_data(data)
                elif isinstance(event, h11.Request):
                    head = insist_on_framing(event)
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > BODY_BYTES:
                        raise OverflowError
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    return self._request(head, bytes(body))
                else:
                    return None

    def _request(self, head: h11.Request, body: bytes) -> HttpRequest:
        path, _, query = head.target.decode("ascii").partition("?")
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
        return HttpRequest(head.method.decode("ascii"), path, query, headers, body, self._peer)

    async def _refuse(self, status: int) -> None:
        if self._wire.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send(HttpAnswer(status, HTTPStatus(status).phrase), "GET", close=True)

    async def _send(self, answer: HttpAnswer, method: str, *, close: bool) -> None:
        body = answer.body.encode()
        headers = [
            ("date", formatdate(usegmt=True)),
            ("content-type", answer.kind),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            *answer.headers,
        ]
        if close:
            headers.append(("connection", "close"))
        events: list[h11.Event] = [h11.Response(status_code=int(answer.status), headers=headers)]
        if method != "HEAD":
            events.append(h11.Data(data=body))
        data = b"".join(self._wire.send(event) or b"" for event in (*events, h11.EndOfMessage()))
        async with asyncio.timeout(WRITE_SECONDS):
            self._writer.write(data)
            await self._writer.drain()


def insist_on_framing(head: h11.Request) -> h11.Request:
    """Refuse a request with two lengths (RFC 9112, 6.3). Raises h11.RemoteProtocolError."""
    names = {name for name, _ in head.headers}
    if {b"content-length", b"transfer-encoding"} <= names:
        raise h11.RemoteProtocolError("two lengths", error_status_hint=HTTPStatus.BAD_REQUEST)
    return head
