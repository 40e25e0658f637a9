"""Logs for tests of the trail: batches of one, and cursors that are kept in memory."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from keyturn.access_log.trail.cursors import SourceState
from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.layout import StoredFile, files_of
from keyturn.access_log.trail.parquet import connected, listed, segments_of, write_file
from keyturn.access_log.trail.trail import Trail
from keyturn.access_log.trail.verification.report import TrailReport, verify_trail
from keyturn.core.errors import Conflict
from keyturn.core.ports.access_source import Batch, Malformed, SourceRecord
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.access_log.trail.events import NOON, access
from tests.ledger.keys import ORIGIN
from tests.support.clock import Clock


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


@dataclass
class TrailWorld:
    """A trail with its ledger and its hub, which tests break; two segments of ``hub`` are sealed in it."""

    directory: Path
    ledger: SqliteLedger
    cursors: Cursors

    @classmethod
    def make(cls, place: Path) -> "TrailWorld":
        world = cls(place / "trail", SqliteLedger(place / "ledger.db", ORIGIN, patience=5), Cursors())
        for first, last in ((1, 150), (151, 300)):
            world.take(first, last)
        return world

    def copy_to(self, place: Path) -> "TrailWorld":
        """Another one that is the same, which costs less than to make it. This one's ledger is closed for that."""
        self.ledger.close()
        shutil.copytree(self.directory, place / "trail")
        shutil.copy(self.directory.parent / "ledger.db", place / "ledger.db")
        copy = TrailWorld(place / "trail", SqliteLedger(place / "ledger.db", ORIGIN, patience=5), Cursors())
        copy.cursors.states = dict(self.cursors.states)
        return copy

    def take(self, first: int, last: int) -> None:
        """Take these lines of the log, in two batches, and seal them."""
        trail, middle = self.open(), (first + last) // 2
        trail.append("hub", trail.cursor("hub"), batch(first, middle))
        trail.append("hub", str(middle + 1), batch(middle + 1, last))
        trail.seal("hub")

    def open(self) -> Trail:
        """As a process does that was begun anew."""
        return Trail(self.directory, self.ledger, self.cursors, lambda: "approle keyturn-serve", Clock())

    @property
    def files(self) -> list[StoredFile]:
        """Those of the segments, in their order."""
        return files_of(self.directory, "hub")

    def problems(self) -> list[str]:
        """What the verifier finds, the hub's cursors included."""
        return [str(problem) for problem in self.report().problems]

    def report(self) -> TrailReport:
        return verify_trail(TrailFiles(self.directory), self.ledger, self.cursors.read)

    def rewrite(self, stored: StoredFile, rows: str) -> None:
        """Put other rows into a file; ``rows`` is SQL over its own, which are called ``old``."""
        query = f"WITH old AS (SELECT * FROM read_parquet({listed([stored.path])}, hive_partitioning = false)) {rows}"  # noqa: S608
        with connected() as connection:
            write_file(connection, stored, query, (), segments_of(stored))

    def entry(self, action: str, outcome: Outcome, place: str, note: str) -> Entry:
        """What the trail's keeper writes besides."""
        return Entry(Clock()(), "approle keyturn-serve", action, outcome, place=place, note=note)
