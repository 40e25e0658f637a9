"""Logs for tests of the trail: batches of one, and cursors that are kept in memory."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from keyturn.access_log.trail.cursors import SourceState
from keyturn.core.access_source import Batch, Malformed, SourceRecord
from keyturn.core.errors import Conflict
from tests.access_log.trail.events import NOON, access


def line(number: int) -> bytes:
    """One line of a log. Every third tells of no access."""
    return b'{"line":%d}' % number


def record(number: int, **rest: Any) -> SourceRecord:
    """What it tells."""
    read = access(NOON + timedelta(seconds=number), path=f"ml/{number % 5}", **rest)
    return SourceRecord(read, hashlib.sha256(line(number)).digest(), f"audit.log:{number}")


def batch(first: int, last: int, **rest: Any) -> Batch:
    """What a log told from the line ``first`` to ``last``; its cursor is the number of the line behind them."""
    numbers = range(first, last + 1)
    return Batch(
        cursor=str(last + 1),
        records=[record(number) for number in numbers if number % 3],
        lines=len(numbers),
        first=f"audit.log:{first}",
        last=f"audit.log:{last}",
        digest=digest([line(number) for number in numbers]),
        **rest,
    )


def digest(lines: Sequence[bytes]) -> bytes:
    """That of several lines."""
    return hashlib.sha256(b"".join(text + b"\n" for text in lines)).digest()


BROKEN = Malformed("audit.log:7", "it is no JSON", b"{broken")


class Cursors:
    """The hub's part, in memory."""

    def __init__(self) -> None:
        self.states: dict[str, SourceState] = {}

    def read(self, source: str) -> SourceState:
        return self.states.get(source, SourceState())

    def write(self, source: str, state: SourceState) -> SourceState:
        if state.version != self.read(source).version:
            raise Conflict("write", source, "somebody was quicker", "Read it again")
        written = self.states[source] = SourceState(**{**vars(state), "version": state.version + 1})
        return written
