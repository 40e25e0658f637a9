"""Accept accesses that applications post, signed per Standard Webhooks 1.0, and store them before the answer.

    door = PostDoor([PostedLog("applications", directory, {"trainer": Poster("trainer", keys)})])
    answer = door.answer(headers, body)

Only the key identifies the sender. A message is stored once, even if it is repeated.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

from keyturn.access_log.sources.line_spool import LineSpool, SpoolTurn
from keyturn.access_log.sources.posted import (
    PostedAccess,
    SpooledAccess,
    decode_message,
    decode_spooled,
    encode_line,
)
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.messages import ID, POSTER, TIMESTAMP, is_signed
from keyturn.core.sensitive import Sensitive

BODY_LIMIT: Final = 65_536
"""Bytes of a body."""
SKEW: Final = 300.0
"""The largest clock difference in seconds, as in Standard Webhooks' libraries."""
OLDEST: Final = timedelta(days=1)
"""The largest age of an access."""
REMEMBERED: Final = 2 * SKEW + 60
"""Seconds for which an id is remembered, longer than messages are valid."""
MOST_REMEMBERED: Final = 200_000
RATE: Final = 2.0
"""Messages per second of a poster. BURST may come at once."""
BURST: Final = 120
PART: Final = 16 * 1024 * 1024
"""Bytes of a spool file, searched for recent messages."""

MESSAGE_ID: Final = re.compile(r"[\x21-\x7e]{1,64}")
STAMP: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class PostAnswer:
    """The status and a line of text."""

    status: HTTPStatus
    text: str


@dataclass(frozen=True)
class Poster:
    """A sender's principal in the log, and current keys."""

    principal: str
    keys: Callable[[], Sequence[Sensitive]]


UNSIGNED: Final = PostAnswer(
    HTTPStatus.UNAUTHORIZED, "the signature is missing or wrong, or the clocks differ by more than five minutes"
)


class PostDoor:
    """Accepts messages for several logs, by ``LOG/NAME`` of the poster. Thread-safe."""

    def __init__(self, logs: "Sequence[PostedLog]", clock: Callable[[], float] = time.time) -> None:
        self._logs = {f"{log.name}/{poster}": (log, poster) for log in logs for poster in log.posters}
        self._clock = clock

    def answer(self, headers: Mapping[str, str], body: bytes) -> PostAnswer:
        """Return 200 once the message is on disk. 503 and 429 allow a retry, 400, 401 and 413 do not."""
        if len(body) > BODY_LIMIT:
            return PostAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {BODY_LIMIT:,} bytes")
        lowered = {name.lower(): text for name, text in headers.items()}
        if not (named := self._logs.get(lowered.get(POSTER, ""))):
            return UNSIGNED
        log, poster = named
        return log.take(poster, lowered, body, self._clock())


class PostedLog:
    """One log of posted accesses, in a local spool."""

    def __init__(self, name: str, directory: Path, posters: Mapping[str, Poster]) -> None:
        self.name = name
        self.posters = posters
        self._spool = LineSpool(directory, part=PART)
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, str], tuple[int, float]] = {}
        self._known_to: tuple[int, int] | None = None
        self._budgets = {poster: (float(BURST), 0.0) for poster in posters}

    def take(self, poster: str, headers: Mapping[str, str], body: bytes, now: float) -> PostAnswer:
        """Accept a poster's message."""
        stamp, message_id = headers.get(TIMESTAMP, ""), headers.get(ID, "")
        if not STAMP.fullmatch(stamp) or abs(now - int(stamp)) > SKEW or not MESSAGE_ID.fullmatch(message_id):
            return UNSIGNED
        try:
            if not is_signed(self.posters[poster].keys(), headers, int(stamp), body):
                return UNSIGNED
            accesses = decode_message(body)
        except KeyturnError:
            return PostAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "the keys can't be read at the moment")
        except ValueError as error:
            return PostAnswer(HTTPStatus.BAD_REQUEST, str(error))
        if flaw := _flaw(accesses, now):
            return PostAnswer(HTTPStatus.BAD_REQUEST, flaw)
        return self._kept(poster, message_id, accesses, now)

    def _kept(self, poster: str, message_id: str, accesses: list[PostedAccess], now: float) -> PostAnswer:
        try:
            with self._lock, self._spool.turn() as turn:
                self._learn(turn, now)
                taken, _ = self._taken.get((poster, message_id), (0, 0.0))
                if taken >= len(accesses):
                    return PostAnswer(HTTPStatus.OK, "it was taken before")
                if len(self._taken) >= MOST_REMEMBERED or not self._has_budget(poster, now):
                    return PostAnswer(HTTPStatus.TOO_MANY_REQUESTS, "too many messages")
                principal, count = self.posters[poster].principal, len(accesses)
                lines = [
                    SpooledAccess(now, poster, principal, message_id, number, count, access)
                    for number, access in enumerate(accesses)
                    if number >= taken  # the remainder, if a killed process wrote only a part
                ]
                turn.append([encode_line(line) for line in lines])
                self._taken[poster, message_id] = (count, now)
                self._known_to = turn.place
        except KeyturnError:
            return PostAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "it can't be kept at the moment")
        return PostAnswer(HTTPStatus.OK, "taken")

    def _learn(self, turn: SpoolTurn, now: float) -> None:
        """Learn the recent messages of all local processes."""
        inode, size = turn.place
        if self._known_to is None or self._known_to[0] != inode:
            lines = self._spool.recent(REMEMBERED)
        else:
            lines = turn.since(self._known_to[1])
        for line in lines:
            if (spooled := decode_spooled(line)) and now - spooled.received <= REMEMBERED:
                taken, _ = self._taken.get((spooled.poster, spooled.id), (0, 0.0))
                self._taken[spooled.poster, spooled.id] = (max(taken, spooled.number + 1), spooled.received)
        self._known_to = (inode, size)
        while self._taken and now - next(iter(self._taken.values()))[1] > REMEMBERED:
            del self._taken[next(iter(self._taken))]

    def _has_budget(self, poster: str, now: float) -> bool:
        left, at = self._budgets[poster]
        left = min(float(BURST), left + max(0.0, now - at) * RATE)
        self._budgets[poster] = (max(0.0, left - 1), now)
        return left >= 1


def _flaw(accesses: list[PostedAccess], now: float) -> str:
    """What is wrong with a message's times, if anything."""
    moment = datetime.fromtimestamp(now, UTC)
    if any(access.at > moment + timedelta(seconds=SKEW) for access in accesses):
        return "an access is in the future"
    if any(access.at < moment - OLDEST for access in accesses):
        return "an access is more than a day ago"
    return ""
