"""Limits of each caller of a route: requests in a minute, and bytes and usage in a day.

The counts of the day can be in a file of each caller, where a restarted process finds them.
"""

import json
import logging
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from keyturn.agent.proxy.failures import ProxyFailure
from keyturn.catalogue.routes import RouteLimits

log = logging.getLogger(__name__)

MINUTE: Final = 60.0
DAY: Final = 86_400
EVENT_BYTES: Final = 1_048_576
"""Bytes of an answer, or of one line of its events, that are searched for usage."""
BYTES_EACH: Final = 4
"""Bytes of an answer without usage that count one: about the length of a token of English text."""
COUNTS: Final = struct.Struct("<qqq")
"""A caller's file: the day since 1970, and its bytes and usage."""


@dataclass
class Allowance:
    """What one caller has used of a route. ``clock`` is monotonic, ``today`` in seconds since 1970.

    ``file`` is the descriptor of the caller's file, if there is one.
    """

    limits: RouteLimits
    clock: Callable[[], float] = time.monotonic
    today: Callable[[], float] = time.time
    file: int | None = None
    _begun: deque[float] = field(default_factory=deque)
    _day: int = 0
    _bytes: int = 0
    _usage: int = 0

    def __post_init__(self) -> None:
        stored = b"" if self.file is None else os.pread(self.file, COUNTS.size, 0)
        if len(stored) == COUNTS.size:
            self._day, self._bytes, self._usage = (max(0, number) for number in COUNTS.unpack(stored))

    def begin(self, route: str) -> None:
        """Count a request. Raises ProxyFailure above a limit."""
        self._next_day()
        limits, now = self.limits, self.clock()
        until_tomorrow = DAY - int(self.today()) % DAY
        if limits.bytes_per_day and self._bytes >= limits.bytes_per_day:
            raise _over(f"Route {route}: this caller has used its bytes of today (UTC).", until_tomorrow)
        if limits.budget and self._usage >= limits.budget.most:
            raise _over(f"Route {route}: this caller has used its budget of today (UTC).", until_tomorrow)
        if not limits.requests_per_minute:
            return
        while self._begun and self._begun[0] <= now - MINUTE:
            self._begun.popleft()
        if len(self._begun) >= limits.requests_per_minute:
            text = f"Route {route} allows this caller {limits.requests_per_minute} requests in a minute."
            raise _over(text, 1 + int(self._begun[0] + MINUTE - now))
        self._begun.append(now)

    def add(self, meter: "Meter") -> None:
        """Count the bytes and the usage of a request that has ended."""
        self._next_day()
        self._bytes += meter.sent + meter.returned
        self._usage += meter.usage
        if self.file is not None:
            try:
                os.pwrite(self.file, COUNTS.pack(self._day, self._bytes, self._usage), 0)
            except OSError as error:
                log.warning("the counts of today are lost at the next restart: %s", error.strerror)

    def close(self) -> None:
        """Close the caller's file. Later counts are in memory alone."""
        if self.file is not None:
            os.close(self.file)
            self.file = None

    def _next_day(self) -> None:
        day = int(self.today()) // DAY
        if day != self._day:
            self._day, self._bytes, self._usage = day, 0, 0


def open_counts(directory: Path, route: str, caller: str) -> int | None:
    """A descriptor of the caller's file; None where it can't be opened, so that the counts are in memory alone."""
    file = directory / f"{route}.{quote(caller, safe='')}"
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        log.warning("%s: %s: the counts of today are lost at the next restart", file, error.strerror)
        return None


def _over(text: str, retry_after: int) -> ProxyFailure:
    return ProxyFailure(HTTPStatus.TOO_MANY_REQUESTS, "limit_reached", text, retry_after=retry_after)


@dataclass
class Meter:
    """Counts the bytes of one request, and finds the usage at ``pointers`` in its answer (JSON or its events)."""

    pointers: Sequence[str] = ()
    sent: int = 0
    returned: int = 0
    usage: int = 0
    _found: dict[str, int] = field(default_factory=dict)
    _text: bytearray = field(default_factory=bytearray)
    _events: bool = False
    _counts: bool = False

    def begin(self, headers: Sequence[tuple[bytes, bytes]], status: int) -> None:
        """Take the head of the answer."""
        kind = next((text for name, text in headers if name == b"content-type"), b"")
        self._events = kind.startswith(b"text/event-stream")
        self._counts = bool(self.pointers) and status < HTTPStatus.BAD_REQUEST

    def received(self, data: bytes) -> None:
        """Take a piece of the answer."""
        self.returned += len(data)
        if not self._counts:
            return
        self._text += data
        if self._events:
            *lines, rest = self._text.split(b"\n")
            self._text = bytearray(rest)
            for line in lines:
                if line.startswith(b"data:"):
                    self._search(bytes(line[5:]))
        if len(self._text) > EVENT_BYTES:
            self._text.clear()

    def end(self) -> None:
        """Add up the usage, also of an answer that was cut."""
        if not self._counts:
            return
        self._search(bytes(self._text.removeprefix(b"data:")))
        self._counts = False
        self.usage = sum(self._found.values()) if self._found else -(-self.returned // BYTES_EACH)

    def _search(self, text: bytes) -> None:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return
        for pointer in self.pointers:
            number = _at(document, pointer)
            if number is not None:
                self._found[pointer] = max(number, self._found.get(pointer, 0))


def _at(document: Any, pointer: str) -> int | None:
    """The number at a JSON pointer (RFC 6901)."""
    for part in pointer.split("/")[1:]:
        document = document.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(document, dict) else None
    whole = isinstance(document, int | float) and not isinstance(document, bool) and 0 <= document < 2**53
    return int(document) if whole else None
