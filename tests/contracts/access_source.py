"""What every access log that is read as it grows must do: one suite over all adapters of AccessSource.

An adapter's test module writes ``class TestItsName(SourceContract)`` with a fixture ``log``, a :class:`GrowingLog`, and
adds the cases that only its log has.
"""

from collections.abc import Iterator
from typing import Protocol

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.ports.access_source import AccessSource, Batch, SourceRecord
from tests.support.hooks import eventually

PATHS = ("ml/database", "ml/key", "payments/card", "payments/token", "shop/smtp", "shop/cdn", "ops/pager")
SECRET = "s3cr3t-c4nary"


class GrowingLog(Protocol):
    """A log that the test writes to, as its system does."""

    def open(self) -> AccessSource:
        """A source of it as a process that has just started has it."""

    def add(self, path: str) -> None:
        """Somebody reads a secret."""

    def spoil(self, text: str) -> None:
        """What stands there next, with ``text`` in it, is none of the log's records."""


def drained(source: AccessSource, cursor: str | None, limit: int = 100, most: int = 200) -> Iterator[Batch]:
    """Batch after batch until there is no more."""
    for _ in range(most):
        batch = source.read(cursor, limit)
        yield batch
        cursor = batch.cursor
        if not batch.more:
            return
    raise AssertionError("there is always more")


def records(source: AccessSource, cursor: str | None = None, limit: int = 100) -> list[SourceRecord]:
    return [record for batch in drained(source, cursor, limit) for record in batch.records]


def paths(taken: list[SourceRecord]) -> list[str]:
    return [record.access.path for record in taken]


class SourceContract:
    """The cases."""

    @pytest.fixture
    def log(self) -> GrowingLog:
        raise NotImplementedError

    @pytest.fixture
    def source(self, log: GrowingLog) -> Iterator[AccessSource]:
        opened = log.open()
        yield opened
        opened.close()

    def filled(self, log: GrowingLog, source: AccessSource, wanted: tuple[str, ...] = PATHS) -> list[SourceRecord]:
        """What is told once so much was written; a log may be late."""
        for path in wanted:
            log.add(path)
        assert eventually(lambda: len(records(source)) >= len(wanted))
        return records(source)

    def test_what_was_there_before_comes_in_its_order_and_once(self, log: GrowingLog, source: AccessSource) -> None:
        taken = self.filled(log, source)
        assert paths(taken) == list(PATHS)
        assert len({record.position for record in taken}) == len(PATHS)
        assert all(len(record.digest) == 32 for record in taken)

    def test_what_comes_later_is_told_from_the_cursor_on(self, log: GrowingLog, source: AccessSource) -> None:
        self.filled(log, source, PATHS[:3])
        *_, last = drained(source, None)
        assert not source.read(last.cursor, 100).records
        log.add(PATHS[3])
        assert eventually(lambda: records(source, last.cursor))
        assert paths(records(source, last.cursor)) == [PATHS[3]]

    def test_killed_at_any_step_nothing_is_skipped_and_nothing_twice(
        self, log: GrowingLog, source: AccessSource
    ) -> None:
        """Each batch is read by a process of its own, twice: as if the first had died before the cursor was durable."""
        everything = self.filled(log, source)
        taken: list[SourceRecord] = []
        cursor, more = None, True
        while more:
            batches = []
            for _ in range(2):
                fresh = log.open()
                batches.append(fresh.read(cursor, 2))
                fresh.close()
            assert batches[0] == batches[1]
            assert len(batches[0].records) <= 2
            taken += batches[0].records
            cursor, more = batches[0].cursor, batches[0].more
        assert taken == everything

    def test_the_cursor_is_a_short_text(self, log: GrowingLog, source: AccessSource) -> None:
        self.filled(log, source)
        assert all(len(batch.cursor.encode()) <= 8192 for batch in drained(source, None, 2))

    def test_a_cursor_of_something_else_is_refused(self, log: GrowingLog, source: AccessSource) -> None:
        self.filled(log, source, PATHS[:1])
        for cursor in ("17", "{}", '{"head":"x","name":"y","marks":[]}', "null", "(", "[]"):
            with pytest.raises(Invalid, match="cursor"):
                source.read(cursor, 100)

    def test_what_is_malformed_is_set_apart_and_stops_nothing(self, log: GrowingLog, source: AccessSource) -> None:
        log.add(PATHS[0])
        log.spoil(SECRET)
        log.add(PATHS[1])
        assert eventually(lambda: len(records(source)) == 2)
        batches = list(drained(source, None))
        assert paths([record for batch in batches for record in batch.records]) == list(PATHS[:2])
        (spoiled,) = [malformed for batch in batches for malformed in batch.malformed]
        assert SECRET.encode() in spoiled.record
        assert spoiled.position
        assert spoiled.problem
        assert SECRET not in spoiled.problem
        assert sum(batch.lines for batch in batches) >= 3

    def test_a_batch_says_what_it_was_made_of(self, log: GrowingLog, source: AccessSource) -> None:
        self.filled(log, source)
        for batch in drained(source, None, 3):
            assert bool(batch.lines) == (len(batch.digest) == 32) == bool(batch.first) == bool(batch.last)

    def test_it_is_let_go_of_as_often_as_one_likes(self, log: GrowingLog) -> None:
        opened = log.open()
        opened.close()
        opened.close()
        assert opened.name == log.open().name
        assert opened.pace > 0
