"""Notices for an application that speaks ASGI, with no framework or within one.

application = asgi_app(receiver, client.told)
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from http import HTTPStatus
from typing import Any

from keyturn.client.webhook import BODY_LIMIT, Receiver
from keyturn.core.notices import NOTICE_PATH, Notice

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]


def asgi_app(receiver: Receiver, on_notice: Callable[[Notice], object]) -> AsgiApp:
    """An ASGI application that takes notices at ``POST /api/secrets/rotation`` and knows no other address.

    ``on_notice`` is called in a thread, so that it holds nobody else up.
    """

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            status = await _answer(receiver, on_notice, scope, receive)
            await send({"type": "http.response.start", "status": status.value, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    return app


async def _answer(
    receiver: Receiver, on_notice: Callable[[Notice], object], scope: Message, receive: Receive
) -> HTTPStatus:
    if scope["path"] != NOTICE_PATH:
        return HTTPStatus.NOT_FOUND
    if scope["method"] != "POST":
        return HTTPStatus.METHOD_NOT_ALLOWED
    headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}
    return await asyncio.to_thread(receiver.handle, headers, await _body(receive), on_notice)


async def _body(receive: Receive) -> bytes:
    """What was sent; a byte over the limit is enough for the receiver to refuse it."""
    body, more = b"", True
    while more and len(body) <= BODY_LIMIT:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body[: BODY_LIMIT + 1]
