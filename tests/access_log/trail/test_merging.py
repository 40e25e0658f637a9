"""Small files become large ones: every event stays, once, wherever that stops; what follows on stays apart."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from keyturn.access_log.trail import merging, summaries
from keyturn.access_log.trail.layout import StoredFile, files_of
from keyturn.access_log.trail.merging import merge_plan, merge_trail
from keyturn.access_log.trail.parquet import read_file, read_segment
from keyturn.access_log.trail.period import Period, query_trail
from keyturn.core.errors import Invalid, Rewritten
from tests.access_log.trail.events import NOON, access, records, write

TODAY, TOMORROW = datetime(2026, 11, 1, 23, tzinfo=UTC), datetime(2026, 11, 2, 1, tzinfo=UTC)
SEGMENTS: Final = {
    number: [access(NOON + timedelta(minutes=number, seconds=at), f"ml/{at}") for at in range(number)]
    for number in range(5)
}

STEPS: Final = 20
"""How often a merge changes a file here."""


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summaries are made however little they spare."""
    monkeypatch.setattr(summaries, "WORTH", 0)


class Killed(BaseException):
    """The process is gone: nothing that it would still do is done."""


def everything(directory: Path) -> list[tuple[Any, Any]]:
    return [pair for file in files_of(directory, "hub") for pair in read_file(file)]


def counted(directory: Path) -> tuple[int, int]:
    """The events, as sums and one by one."""
    query = "SELECT (SELECT sum(events)::BIGINT FROM sums), (SELECT count(*) FROM events)"
    return query_trail(directory, Period(), lambda connection, _: connection.execute(query).fetchall()[0])


def written(directory: Path) -> list[tuple[Any, Any]]:
    for number, accesses in SEGMENTS.items():
        write(directory, number, accesses, gaps=("cut",) if number == 2 else ())
    return everything(directory)


def test_a_day_that_is_over_becomes_one_file_but_for_the_newest_segments(tmp_path: Path) -> None:
    before = written(tmp_path)
    assert merge_trail(tmp_path, TODAY) == 0
    assert merge_trail(tmp_path, TOMORROW) == 1
    assert [(file.first, file.last) for file in files_of(tmp_path, "hub")] == [(0, 2), (3, 3), (4, 4)]
    assert everything(tmp_path) == before
    assert read_segment(tmp_path, "hub", 2) == records(SEGMENTS[2])
    assert counted(tmp_path) == (10, 10)
    assert len(list(files_of(tmp_path, "hub")[0].path.parent.iterdir())) == 3
    assert merge_trail(tmp_path, TOMORROW) == 0


@pytest.mark.sampled(6)
@pytest.mark.parametrize("step", range(STEPS))
def test_it_may_be_killed_at_any_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    before = written(tmp_path)
    with monkeypatch.context() as patch:
        end_before(step, patch)
        with pytest.raises(Killed):
            merge_trail(tmp_path, TOMORROW)
    assert everything(tmp_path) == before
    assert counted(tmp_path) == (10, 10)
    merge_trail(tmp_path, TOMORROW)
    assert everything(tmp_path) == before
    assert [(file.first, file.last) for file in files_of(tmp_path, "hub")] == [(0, 2), (3, 3), (4, 4)]
    assert not list(tmp_path.rglob("*.draft"))


def end_before(last: int, patch: pytest.MonkeyPatch) -> None:
    """The process ends before the call of that number that changes a file."""
    calls = iter(range(STEPS))

    def ending(real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            if next(calls, last) >= last:
                raise Killed
            return real(*args, **kwargs)

        return step

    for owner, name in ((Path, "rename"), (Path, "unlink"), (os, "fsync"), (os, "open")):
        patch.setattr(owner, name, ending(getattr(owner, name)))


def test_many_small_files_of_a_day_that_goes_on_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "TOGETHER", 3)
    before = written(tmp_path)
    assert merge_trail(tmp_path, TODAY) == 1
    assert [(file.first, file.last) for file in files_of(tmp_path, "hub")] == [(0, 2), (3, 3), (4, 4)]
    assert everything(tmp_path) == before


def test_what_is_large_enough_is_not_merged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    largest = max(file.path.stat().st_size for file in files_of(tmp_path, "hub"))
    monkeypatch.setattr(merging, "LARGEST", 2 * largest)
    assert merge_trail(tmp_path, TOMORROW) == 1
    assert [(file.first, file.last) for file in files_of(tmp_path, "hub")] == [(0, 1), (2, 2), (3, 3), (4, 4)]
    monkeypatch.setattr(merging, "LARGEST", largest)
    assert merge_trail(tmp_path, TOMORROW) == 0


def test_a_summary_that_would_spare_little_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "WORTH", 3)
    written(tmp_path)
    for _ in range(2):
        merge_trail(tmp_path, TOMORROW)
        assert files_of(tmp_path, "hub")[0].summary.stat().st_size == 0
        assert counted(tmp_path) == (10, 10)


def test_only_segments_that_follow_on_one_another_become_one() -> None:
    def file(first: int, last: int, day: str) -> StoredFile:
        return StoredFile("hub", first, last, 0, 0, 0, day, Path())

    days = [(1, "20261101"), (2, "20261101"), (4, "20261101"), (5, "20261102"), (6, "20261102"), (9, "20261102")]
    plan = merge_plan([file(number, number, day) for number, day in days], "20261103")
    assert [[each.first for each in run] for run in plan] == [[1, 2], [5, 6]]
    assert list(merge_plan([], "20261103")) == []


def test_a_broken_file_stops_no_other_source(tmp_path: Path) -> None:
    before = written(tmp_path)
    for number in range(4):
        stored = write(tmp_path, number, [access()], "aws")
    stored.path.with_name(files_of(tmp_path, "aws")[0].name).write_bytes(stored.path.read_bytes())
    with pytest.raises(Rewritten, match="other segments than its name says"):
        merge_trail(tmp_path, TOMORROW)
    assert everything(tmp_path) == before
    assert len(files_of(tmp_path, "hub")) == 3


def test_one_process_merges_at_a_time(tmp_path: Path) -> None:
    written(tmp_path)
    with merging.merging_alone(tmp_path) as alone:
        assert (alone, merge_trail(tmp_path, TOMORROW)) == (True, 0)
    assert merge_trail(tmp_path, TOMORROW) == 1


def test_files_that_hold_a_part_of_one_another_are_told(tmp_path: Path) -> None:
    written(tmp_path)
    merge_trail(tmp_path, TOMORROW)
    merged = files_of(tmp_path, "hub")[0]
    merged.path.with_name(merged.name.replace("0000000000-0000000002", "0000000001-0000000004")).write_bytes(b"")
    with pytest.raises(Invalid, match="holds a part of what another file holds"):
        merge_trail(tmp_path, TOMORROW)


@pytest.mark.parametrize("kind", ["events", "summary"])
def test_a_broken_file_is_left_out_of_an_answer_and_said_to_be(tmp_path: Path, kind: str) -> None:
    written(tmp_path)
    merge_trail(tmp_path, TOMORROW)
    merged = files_of(tmp_path, "hub")[0]
    broken = merged.path if kind == "events" else merged.summary
    broken.write_bytes(broken.read_bytes()[:40])
    query = "SELECT sum(events)::BIGINT FROM sums"
    events, files = query_trail(
        tmp_path, Period(), lambda duck, holdings: (duck.execute(query).fetchall(), holdings.broken)
    )
    assert files == {broken: "it is no whole Parquet file"}
    assert events == [(7 if kind == "events" else 10,)]


PERIODS: Final = [
    Period(),
    Period(since=NOON + timedelta(minutes=4)),
    Period(until=NOON + timedelta(minutes=4, seconds=1)),
    Period(NOON - timedelta(days=3, minutes=1), NOON - timedelta(days=1)),
    Period(NOON - timedelta(days=2), NOON - timedelta(days=2)),
    Period(datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC)),
    Period(datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 10, 30, 23, 59, 59, 999_999, tzinfo=UTC)),
    Period(datetime(2027, 10, 30, tzinfo=UTC)),
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("period", PERIODS, ids=range(len(PERIODS)))
def test_sums_of_any_period_are_those_of_its_events(tmp_path: Path, period: Period) -> None:
    for number in range(6):
        days = [NOON - timedelta(days=day, minutes=number) for day in range(5)]
        days += [
            datetime(2026, 10, 30 + add, tzinfo=UTC) - timedelta(microseconds=less) for add in (0, 1) for less in (0, 1)
        ]
        write(tmp_path, number, [access(at, f"ml/{at:%S}") for at in days])
    query = "SELECT path, min({first}), max({last}), {events}::BIGINT FROM {table} GROUP BY path ORDER BY path"
    sums = query.format(first="first", last="last", events="sum(events)", table="sums")
    single = query.format(first="time", last="time", events="count(*)", table="events")

    def both(connection: duckdb.DuckDBPyConnection, _: object) -> Any:
        return connection.execute(sums).fetchall(), connection.execute(single).fetchall()

    unmerged = query_trail(tmp_path, period, both)
    assert unmerged[0] == unmerged[1]
    assert merge_trail(tmp_path, TOMORROW) == 1
    assert query_trail(tmp_path, period, both) == unmerged
