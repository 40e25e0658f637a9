"""The receiver as an ASGI application, which handles notices in threads.

app.mount("/", asgi_app(receiver, client.told))   # Starlette, FastAPI
"""

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from keyturn.client.webhooks.receiver import BODY_LIMIT, Receiver
from keyturn.core.notifications.notices import NOTICE_PATH, Notice

THREADS: Final = 4
"""Concurrent notices; a repeat of a running one is answered at once."""
BODY_TIMEOUT: Final = 10.0
"""Seconds for a complete body."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


def asgi_app(receiver: Receiver, on_notice: Callable[[Notice], object]) -> AsgiApp:
    """An ASGI 3 application that accepts notices at ``POST /api/secrets/rotation`` and no other path."""
    threads = ThreadPoolExecutor(THREADS, "keyturn-notices")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _answer(send, await _status(scope, receive, partial(_handle, threads, receiver, on_notice)))

    return app


Handle = Callable[[dict[str, str], bytes], Awaitable[HTTPStatus]]


async def _handle(
    threads: ThreadPoolExecutor,
    receiver: Receiver,
    on_notice: Callable[[Notice], object],
    headers: dict[str, str],
    body: bytes,
) -> HTTPStatus:
    import asyncio

    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, receiver.handle, headers, body, on_notice)


async def _status(scope: Scope, receive: Receive, handle: Handle) -> HTTPStatus:
    if scope["path"].removeprefix(scope.get("root_path", "")) != NOTICE_PATH:
        return HTTPStatus.NOT_FOUND
    if scope["method"] != "POST":
        return HTTPStatus.METHOD_NOT_ALLOWED
    body = await _body(receive)
    if body is None:
        return HTTPStatus.REQUEST_TIMEOUT
    return await handle({name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}, body)


async def _body(receive: Receive) -> bytes | None:
    """The body, cut to one byte above the limit; None where it is late."""
    import asyncio

    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while len(body) <= BODY_LIMIT:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        return None
    return bytes(body[: BODY_LIMIT + 1])


async def _answer(send: Send, status: HTTPStatus) -> None:
    await send({"type": "http.response.start", "status": status.value, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def _live(receive: Receive, send: Send) -> None:
    """Confirm the server's lifespan messages."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
