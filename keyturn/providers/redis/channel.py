"""Notices by Redis publish and subscribe: sending, and listening to a channel.

Redis keeps no messages: clients that are not listening miss them. Source: "Redis Pub/Sub".
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from keyturn.core.errors import Denied, KeyturnError, Unavailable
from keyturn.core.notifications.messages import AGAIN, SignedMessage
from keyturn.core.sensitive import SecretFields
from keyturn.providers.deliver_notices import DOING
from keyturn.providers.reading import NoticeReader
from keyturn.providers.redis.node import Node, from_redis

log = logging.getLogger(__name__)

TRIES: Final = 5
PAUSE: Final = 1.0  # seconds
WAIT: Final = 1.0  # seconds


class RedisChannel:
    """:class:`keyturn.core.ports.consumers.NoticeSender` to a channel; a message with a listener counts as taken."""

    def __init__(
        self,
        name: str,
        *,
        host: str,
        channel: str,
        login: Callable[[], SecretFields],
        port: int = 6379,
        tls: bool = True,
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        self._node = Node(host, port, tls, ca_file)
        self._channel = channel
        self._login = login

    def send(self, message: SignedMessage, timeout: float) -> None:
        login = self._login()
        user = login["username"].reveal()
        try:
            with self._node.session(user, login["password"], timeout) as server:
                listening = server.publish(self._channel, message.to_json())
        except RedisError as error:
            rule = f"ACL SETUSER {user} +publish &{self._channel}"
            raise refusal(error, DOING, self.name, self._node, rule) from None
        if listening < 1:
            hint = "See whether it has subscribed, at this node where there are several"
            raise Unavailable(DOING, self.name, "no one listens on its channel", hint)

    def close(self) -> None:
        """There is nothing to close: each notice has a connection of its own."""


class RedisReader(NoticeReader):
    """Listens to a channel in the application's process, with the application's login.

    ``handle`` gets each message's text, for example ``Receiver.handle_message``; answers of 503 are retried a few
    times. ``missed`` is called each time listening starts: check then whether secrets have changed.
    """

    def __init__(
        self,
        channel: str,
        handle: Callable[[str], int],
        *,
        host: str,
        login: Callable[[], SecretFields],
        port: int = 6379,
        tls: bool = True,
        ca_file: str | None = None,
        missed: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._channel = channel
        self._handle = handle
        self._node = Node(host, port, tls, ca_file)
        self._login = login
        self._missed = missed

    def read_once(self) -> int:
        with self._subscribed() as subscription:
            while not self._over.is_set():
                message = subscription.get_message(timeout=WAIT)
                kind = message["type"] if message else ""
                if kind == "subscribe":
                    self._missed()
                elif kind == "message":
                    self._take(message["data"])
        return 0

    def _take(self, text: str) -> None:
        for attempt in range(TRIES):
            if (status := self._handle(text)) != AGAIN:
                return
            if self._over.wait(PAUSE * 2**attempt):
                return
        log.error("a notice on %s could not be taken: the last answer was %s", self._channel, status)

    @contextmanager
    def _subscribed(self) -> Iterator[Any]:
        login = self._login()
        user = login["username"].reveal()
        try:
            with self._node.listening(user, login["password"], self._channel) as subscription:
                yield subscription
        except RedisError as error:
            rule = f"ACL SETUSER {user} +subscribe &{self._channel}"
            raise refusal(error, "listen to", self._channel, self._node, rule) from None


def refusal(error: RedisError, doing: str, name: str, node: Node, rule: str) -> KeyturnError:
    if isinstance(error, AuthenticationError):
        return Denied(doing, name, f"{node} refuses the login", "Write the login that is good there to its entry")
    if isinstance(error, NoPermissionError):
        return Denied(doing, name, f"{node} forbids it", f"Run there: {rule}")
    return from_redis(error, doing, name, node)
