"""Reports a client's reads to the access monitor, in the background and bounded.

posts = AccessPosts("https://keyturn.example:9700", "applications/trainer", key)
client = SecretClient(sources, posts=posts)

It reports every read that a source answers, and no value from memory. A read never waits for a report or fails because
of one. Undeliverable reports are counted and dropped.
"""

import atexit
import contextlib
import http.client
import json
import logging
import os
import secrets
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from keyturn.client.secrets import NotServed, Secret, SecretSource
from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Denied, Invalid, NotFound
from keyturn.core.notifications.messages import ACCESSES_PATH, ID, POSTER, SIGNATURE, TIMESTAMP, signature
from keyturn.core.sensitive import Sensitive

log = logging.getLogger(__name__)

HELD: Final = 10_000
"""Accesses in the queue; above that, the oldest is dropped."""
AT_ONCE: Final = 500
BYTES: Final = 60_000
"""Limits of one message; the server refuses more than 64 KiB."""
GATHERED: Final = 1.0
"""Seconds for which accesses are collected into one message."""
TIMEOUT: Final = 10.0
"""Seconds for one message, including its answer."""
LONGEST_REST: Final = 60.0
"""The longest pause in seconds between two attempts."""
FAREWELL: Final = 2.0
"""Seconds at the end for unsent accesses."""
LONGEST: Final = 256
"""Characters of a text."""
REFUSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
"""Answers after which a message is dropped."""


class AccessPosts:
    """Posts accesses to ``url`` as ``poster``, which is ``LOG/NAME`` of the catalogue, signed with its key.

    ``agent`` names the program, ``source`` its address. Plain http is allowed on loopback only. Thread-safe, also for
    several clients. A forked child starts empty. Raises Invalid.
    """

    def __init__(
        self,
        url: str,
        poster: str,
        key: Sensitive | Callable[[], Sensitive],
        *,
        ca_file: str | None = None,
        agent: str = "",
        source: str = "",
        held: int = HELD,
    ) -> None:
        self._place = _place(url)
        self.posted = 0
        self.dropped = 0
        self._poster = poster
        self._key = key if callable(key) else lambda: key
        self._ca_file = ca_file
        self._about = {"agent": agent[:LONGEST], "source": source[:LONGEST]}
        self._held = held
        self._begin()
        beginning = _beginning_of(weakref.ref(self))
        os.register_at_fork(after_in_child=beginning)

    def reporting(self, sources: Sequence[SecretSource]) -> list[SecretSource]:
        """The same sources, with their reads reported."""
        return [_Reported(source, self) for source in sources]

    def note(
        self, path: str, version: int | None = None, *, denied: bool = False, login: str = "", agent: str = ""
    ) -> None:
        """Queue a report of a read or refusal, by ``login`` and ``agent`` if given. Returns at once, raises nothing."""
        with contextlib.suppress(Exception), self._changed:
            if self._closed:
                return
            if len(self._waiting) == self._held:
                self.dropped += 1
            named = {"login": login[:LONGEST], "agent": agent[:LONGEST]} if login or agent else {}
            self._waiting.append((datetime.now(UTC), path, version, denied, named))
            self._changed.notify()
            if self._thread is None:
                self._start()

    def flush(self, seconds: float) -> bool:
        """Wait this many seconds at most; whether all reports are sent."""
        until = time.monotonic() + seconds
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while (self._waiting or self._sending) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            self._hurry = False
            return not (self._waiting or self._sending)

    def close(self) -> None:
        """Send remaining reports for two seconds, and nothing afterwards."""
        if self._thread is not None:
            self.flush(FAREWELL)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        self._waiting: deque[tuple[datetime, str, int | None, bool, dict[str, str]]] = deque(maxlen=self._held)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sending = self._hurry = self._closed = False

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="keyturn-posts", daemon=True)
        self._thread.start()
        atexit.register(_at_end, weakref.ref(self))

    def _run(self) -> None:
        while message := self._next():
            self._deliver(*message)
            with self._changed:
                self._sending = False
                self._changed.notify_all()

    def _next(self) -> tuple[str, bytes, int] | None:
        """The next message; None at the end."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._hurry and not self._closed and len(self._waiting) < AT_ONCE:
                self._changed.wait_for(lambda: self._hurry or self._closed, GATHERED)
            if self._closed:
                return None
            accesses, size = list[bytes](), 0
            while self._waiting and len(accesses) < AT_ONCE and size < BYTES:
                accesses.append(self._data(*self._waiting.popleft()))
                size += len(accesses[-1]) + 1
            self._sending = True
        body = b'{"accesses":[' + b",".join(accesses) + b"]}"
        return f"msg_{secrets.token_hex(16)}", body, len(accesses)

    def _data(self, at: datetime, path: str, version: int | None, denied: bool, named: dict[str, str]) -> bytes:
        members = {"at": at.isoformat(), "path": path[:LONGEST], "version": version, "denied": denied}
        members |= {**self._about, **named}
        filled = {name: value for name, value in members.items() if value}
        return json.dumps(filled, ensure_ascii=False, separators=(",", ":")).encode()

    def _deliver(self, message_id: str, body: bytes, count: int) -> None:
        """Send a message until it is accepted or refused, with the same id each time."""
        rest = 1.0
        while True:
            status = self._send(message_id, body)
            if status == HTTPStatus.OK:
                self.posted += count
                return
            if status in REFUSED or self._closed:
                self.dropped += count
                log.warning("%s accesses could not be reported: %s", count, status or "nobody answers")
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._hurry, rest)
                if self._hurry and not self._closed:
                    self._changed.wait_for(lambda: self._closed, min(rest, 0.2))
            rest = min(LONGEST_REST, 2 * rest)

    def _send(self, message_id: str, body: bytes) -> int:
        """The status that answers one attempt; 0 without an answer."""
        scheme, host, port, path = self._place
        try:
            stamp = int(time.time())
            signed = signature(self._key(), message_id, stamp, body)
            headers = {ID: message_id, TIMESTAMP: str(stamp), SIGNATURE: signed, POSTER: self._poster}
            if scheme == "https":
                context = ssl.create_default_context(cafile=self._ca_file)
                connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, port, timeout=TIMEOUT, context=context
                )
            else:
                connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
            with contextlib.closing(connection), _ended_after(connection, TIMEOUT):
                connection.request("POST", path, body, {"content-type": "application/json", **headers})
                return connection.getresponse().status
        except Exception as error:  # noqa: BLE001 - whatever it is, the program must not hear of it
            log.debug("accesses could not be reported: %s", type(error).__name__)
            return 0


def _place(url: str) -> tuple[str, str, int | None, str]:
    """The scheme, host, port and path. Raises Invalid."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("https", "http") and parts.hostname and not leaves_in_clear(url):
            return parts.scheme, parts.hostname, parts.port, parts.path.rstrip("/") + ACCESSES_PATH
    raise Invalid("post accesses to", url, "it is no https address", "Write https://host:port")


class _Reported:
    """A source whose reads are reported; everything else is passed through."""

    def __init__(self, source: SecretSource, posts: AccessPosts) -> None:
        self.name = source.name
        self._source = source
        self._posts = posts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, path: str) -> Secret:
        """See :meth:`SecretSource.read`."""
        try:
            secret = self._source.read(path)
        except NotServed:
            raise
        except (Denied, NotFound):
            self._posts.note(path, denied=True)
            raise
        self._posts.note(path, secret.version)
        return secret

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        """See :meth:`SecretSource.read_many`."""
        served = self._source.read_many(paths)
        for path, secret in served.items():
            self._posts.note(path, secret.version)
        return served

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        """See :meth:`SecretSource.versions`, which reads no value to report."""
        return self._source.versions(paths)


@contextlib.contextmanager
def _ended_after(connection: http.client.HTTPConnection, seconds: float) -> Any:
    """Close the connection after ``seconds``, because each byte restarts its timeout."""

    def end() -> None:
        with contextlib.suppress(Exception):
            connection.sock.shutdown(2)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _at_end(posts: "weakref.ref[AccessPosts]") -> None:
    if living := posts():
        living.close()


def _beginning_of(posts: "weakref.ref[AccessPosts]") -> Callable[[], None]:
    def begin() -> None:
        if living := posts():
            living._begin()

    return begin
