"""Forwards entries to collectors, again until they are acknowledged.

The hub stores each position by compare-and-set. So one of two senders gives up, any host can continue, and a ledger
rollback is detected.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from keyturn.core.errors import Conflict, Invalid, KeyturnError, Rewritten, Throttled, TransientError
from keyturn.core.ports.hub import StatePort
from keyturn.core.ports.ledger import Entry
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.formats import Format, encode_as, sequenced
from keyturn.ledger.ports import StoredLedger

FORWARDING: Final = "forwarding"
"""Each collector's position in Keyturn's mount: ``forwarding/<ledger>/<collector>``."""

BATCH: Final = 500
"""The most entries sent together."""
BATCH_SIZE: Final = 512 * 1024
"""The most characters sent together, except for a longer entry. Many collectors accept 1 MB."""

PAUSES: Final = (0.5, 2.0)
"""Seconds before sending again, randomly up to double. After that the next run sends."""
LONGEST_PAUSE: Final = 20.0
"""The longest pause, in seconds, that a collector may request."""


@dataclass(frozen=True)
class Message:
    """One entry as sent. A collector drops duplicates by ``sequence``."""

    sequence: int
    entry: Entry
    text: str


class Collector(Protocol):
    """A receiver of ordered entries. ``name`` identifies it, in path characters."""

    name: str
    form: Format

    def deliver(self, ledger: str, messages: Sequence[Message]) -> None:
        """Send these entries of the ledger, and return once all have arrived.

        After an error all are sent again.
        """


@dataclass(frozen=True)
class Forwarded:
    """A collector's position. ``error`` is why entries wait; None without a failure."""

    collector: str
    sent: int = 0
    waiting: int = 0
    oldest: datetime | None = None
    error: KeyturnError | None = None


def forward(
    ledger: StoredLedger,
    hub: StatePort,
    collector: Collector,
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Forwarded:
    """Send what the collector lacks, in batches, oldest first. An error is part of the result.

    Raises where the ledger can't be read at all.
    """
    size = ledger.size()
    cursor, sent = 0, 0
    try:
        position = _Position(hub, f"{FORWARDING}/{ledger.origin}/{collector.name}")
        cursor = position.sequence
        _insist_on_length(ledger, collector, cursor, size)
        while cursor < size:
            batch = _batch(ledger, collector.form, cursor + 1, size)
            _deliver(ledger.origin, collector, batch, sleep, jitter)
            position.move(batch[-1].sequence)
            cursor, sent = batch[-1].sequence, sent + len(batch)
    except KeyturnError as error:
        waiting = max(0, size - cursor)
        return Forwarded(collector.name, sent, waiting, _time_of(ledger, cursor + 1), error)
    return Forwarded(collector.name, sent)


class _Position:
    """The last acknowledged entry, as stored in the hub."""

    def __init__(self, hub: StatePort, path: str) -> None:
        self._hub, self._path = hub, path
        state = hub.read_state(path)
        self._version = state.version if state else 0
        self.sequence = int(state.data["sequence"]) if state else 0

    def move(self, sequence: int) -> None:
        """Record the last arrived entry. Raises Conflict where another run also sends."""
        try:
            self._version = self._hub.write_state(self._path, {"sequence": sequence}, cas=self._version)
        except Conflict:
            problem, hint = "another run sends to it at the same time", "Leave it to that one"
            raise Conflict("forward to", self._path, problem, hint) from None
        self.sequence = sequence


def _batch(ledger: StoredLedger, form: Format, first: int, size: int) -> list[Message]:
    """The next entries, read before sending to a slow collector."""
    messages: list[Message] = []
    room = BATCH_SIZE
    try:
        for message in _messages(ledger, form, first, min(size, first + BATCH - 1)):
            room -= len(message.text)
            if messages and room < 0:
                break
            messages.append(message)
    except Rewritten:
        # The valid entries before it are still sent. Nothing after it is.
        if not messages:
            raise
    if not messages:
        problem = f"entry {first} is missing"
        raise Rewritten("forward", ledger.origin, problem, "See `keyturn ledger verify` for where it begins")
    return messages


def _messages(ledger: StoredLedger, form: Format, first: int, last: int) -> Iterator[Message]:
    expected = first
    for _, leaf in ledger.leaves(first, last):
        numbered = sequenced(expected, leaf)
        yield Message(expected, numbered.entry, encode_as(form, ledger.origin, numbered, leaf))
        expected += 1


def _deliver(
    ledger: str,
    collector: Collector,
    batch: Sequence[Message],
    sleep: Callable[[float], None],
    jitter: Callable[[], float],
) -> None:
    """Send a batch, again after temporary errors. Raises the last error."""
    for pause in PAUSES:
        try:
            return collector.deliver(ledger, batch)
        except TransientError as error:
            requested = error.retry_after or 0.0 if isinstance(error, Throttled) else 0.0
            if requested > LONGEST_PAUSE:
                raise
        sleep(max(pause * (1 + jitter()), requested))
    return collector.deliver(ledger, batch)


def _insist_on_length(ledger: StoredLedger, collector: Collector, cursor: int, size: int) -> None:
    if cursor > size:
        problem = f"{cursor} entries were sent to {collector.name}, and it has only {size}"
        raise Rewritten("forward", ledger.origin, problem, "Keep it as it is, and see `keyturn ledger verify`")


def _time_of(ledger: StoredLedger, sequence: int) -> datetime | None:
    """When the entry was written; None where it is missing or unreadable."""
    for _, leaf in ledger.leaves(sequence, sequence):
        try:
            return parse_leaf(leaf).entry.time
        except Invalid:
            return None
    return None
