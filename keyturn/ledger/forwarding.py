"""Sending entries on to collectors. The ledger is the outbox: what a collector has not acknowledged is sent again.

How far each collector is stands in the hub, by compare-and-set: of two who send at the same time one gives up, any
host can go on where another one died, and a ledger that was put back to an earlier state is noticed by it.
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
"""Where the hub keeps how far each collector is: ``forwarding/<ledger>/<collector>`` in Keyturn's own mount."""

BATCH: Final = 500
"""Entries sent together, at most."""
BATCH_SIZE: Final = 512 * 1024
"""Characters sent together, at most, unless one entry alone is longer; many collectors take 1 MB."""

PAUSES: Final = (0.5, 2.0)
"""Seconds before a batch is sent again, drawn up to the double; after that the next run does it."""
LONGEST_PAUSE: Final = 20.0
"""Seconds that a collector may ask for."""


@dataclass(frozen=True)
class Message:
    """One entry as it is sent: ``sequence`` is its id, by which a collector drops what it has already."""

    sequence: int
    entry: Entry
    text: str


class Collector(Protocol):
    """Something that takes entries, in their order. ``name`` tells it from others, in characters of a path."""

    name: str
    form: Format

    def deliver(self, ledger: str, messages: Sequence[Message]) -> None:
        """Send these entries of the ledger of that name, and return once all of them have arrived.

        Raises what stops it; then none, some or all may have arrived, and all of them are sent again.
        """


@dataclass(frozen=True)
class Forwarded:
    """How far a collector is: ``sent`` entries just now, ``waiting`` still, the oldest of these from ``oldest`` on.

    ``error`` is why some wait; None where nothing failed.
    """

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
    """Send what the collector has not got yet, batch by batch, oldest first; what stops it is part of the answer.

    Raises what the ledger raises where it can't be read at all.
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
    """The last entry that was acknowledged, as the hub keeps it."""

    def __init__(self, hub: StatePort, path: str) -> None:
        self._hub, self._path = hub, path
        state = hub.read_state(path)
        self._version = state.version if state else 0
        self.sequence = int(state.data["sequence"]) if state else 0

    def move(self, sequence: int) -> None:
        """Remember that all up to ``sequence`` have arrived. Raises Conflict where somebody else sends as well."""
        try:
            self._version = self._hub.write_state(self._path, {"sequence": sequence}, cas=self._version)
        except Conflict:
            problem, hint = "another run sends to it at the same time", "Leave it to that one"
            raise Conflict("forward to", self._path, problem, hint) from None
        self.sequence = sequence


def _batch(ledger: StoredLedger, form: Format, first: int, size: int) -> list[Message]:
    """The next entries: read whole before anything is sent, so that no reading lasts as long as a slow collector."""
    messages: list[Message] = []
    room = BATCH_SIZE
    try:
        for message in _messages(ledger, form, first, min(size, first + BATCH - 1)):
            room -= len(message.text)
            if messages and room < 0:
                break
            messages.append(message)
    except Rewritten:
        # What is whole before it still leaves; then nothing goes past it.
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
    """Send a batch, again after a pause where that may help. Raises the last error."""
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
    """When the entry was written; None where there is none that can be read."""
    for _, leaf in ledger.leaves(sequence, sequence):
        try:
            return parse_leaf(leaf).entry.time
        except Invalid:
            return None
    return None
