"""What is written into the trail's files comes back to the last letter, and a file is there whole or not at all."""

import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import msgspec
import pytest

from keyturn.access_log.trail.layout import files_of, sources, stored_files
from keyturn.access_log.trail.parquet import (
    SEGMENTS_KEY,
    event_files,
    read_file,
    read_segment,
    segments_of,
    write_segment,
)
from keyturn.core.errors import NotFound, Rewritten, Unavailable
from keyturn.core.ports.access import LOGIN, Access
from tests.access_log.trail.events import NOON, access, records, segment, write

ODD = [
    access(),
    access(granted="ml-read"),
    access(NOON - timedelta(days=1), version=None, denied=True, principal="", source="", agent=""),
    access(NOON + timedelta(microseconds=1), path="<b>'\"\\\x00\x1b[31m\u202e \U0001f511", agent="a\nb\tc,;"),
    access(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), version=0),
    access(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), version=10**18 - 1, root=True),
    access(datetime(1, 1, 1, tzinfo=UTC), action=LOGIN, path="auth/approle/login", version=None, granted="a,b"),
    access(NOON.astimezone(timezone(timedelta(hours=-3, minutes=-30)))),
]


@pytest.mark.parametrize("accesses", [ODD, [], [access()]], ids=["odd", "none", "one"])
def test_a_segment_comes_back_as_it_was(tmp_path: Path, accesses: list[Access]) -> None:
    directory = tmp_path / "it's [odd] *"
    written = segment(0, accesses, gaps=("audit.log was cut, 'they' say",))
    stored = write_segment(directory, "hub/../ü", written, records(accesses))
    assert read_segment(directory, "hub/../ü", 0) == records(accesses)
    assert list(read_file(stored)) == [(written, records(accesses))]
    assert (sources(directory), stored_files(directory)) == (["hub/../ü"], [stored])
    assert all(stored.within(access.at, access.at) for access in accesses)


def test_files_are_for_their_owner_and_writing_again_changes_nothing(tmp_path: Path) -> None:
    stored = write(tmp_path / "trail", 4, ODD)
    content = stored.path.read_bytes()
    (stored.path.parent / f".{stored.path.name}.draft").write_bytes(b"of a run that was killed")
    assert write(tmp_path / "trail", 4, ODD).path.read_bytes() == content
    assert [file.name for file in stored.path.parent.iterdir()] == [stored.path.name]
    made = [stored.path, stored.path.parent, stored.path.parent.parent, tmp_path / "trail"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o600, 0o700, 0o700, 0o700]


def test_what_is_not_there_or_broken_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file of the trail holds it"):
        read_segment(tmp_path, "hub", 0)
    stored = write(tmp_path, 0, ODD)
    stored.path.write_bytes(stored.path.read_bytes()[:-100])
    with pytest.raises(Unavailable, match="it is no whole Parquet file"):
        read_segment(tmp_path, "hub", 0)
    stored.path.unlink()
    stored.path.mkdir()
    with pytest.raises(Unavailable, match="Is a directory"):
        list(read_file(stored))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("SELECT * FROM {file} LIMIT 3", "3 of the 8 events"),
        ("SELECT * FROM {file} ORDER BY leaf DESC", "not in their order"),
        ("SELECT * REPLACE (7 AS segment) FROM {file}", "0 of the 8 events"),
        ("SELECT * FROM {file} UNION ALL SELECT * REPLACE (7 AS segment) FROM {file}", "where none are expected"),
    ],
)
def test_a_file_with_other_rows_is_told(tmp_path: Path, change: str, problem: str) -> None:
    stored = write(tmp_path, 0, ODD)
    file, changed = f"read_parquet('{stored.path}')", tmp_path / "changed.parquet"
    metadata = msgspec.json.encode(segments_of(stored)).decode()
    options = f"FORMAT parquet, KV_METADATA {{'{SEGMENTS_KEY}': '{metadata}'}}"
    duckdb.execute(f"COPY ({change.format(file=file)}) TO '{changed}' ({options})")
    changed.rename(stored.path)
    with pytest.raises(Rewritten, match=problem):
        list(read_file(stored))


def test_what_was_written_before_there_was_a_column_is_read_with_what_came_later(tmp_path: Path) -> None:
    older, newer = (write(tmp_path, number, [access(granted="ml-read")]) for number in range(2))
    metadata = msgspec.json.encode(segments_of(older)).decode()
    options = f"FORMAT parquet, KV_METADATA {{'{SEGMENTS_KEY}': '{metadata}'}}"
    changed = tmp_path / "changed.parquet"
    file = f"read_parquet('{older.path}', hive_partitioning = false)"
    duckdb.execute(f"COPY (SELECT * EXCLUDE (granted) FROM {file}) TO '{changed}' ({options})")  # noqa: S608
    changed.rename(older.path)
    assert [record.access for record in read_segment(tmp_path, "hub", 0)] == [access()]
    rows = duckdb.execute(f"SELECT granted FROM {event_files([older.path, newer.path])}").fetchall()  # noqa: S608
    assert rows == [("",), ("ml-read",)]


def test_a_file_that_is_another_segments_is_told(tmp_path: Path) -> None:
    stored = write(tmp_path, 0, ODD)
    other = write(tmp_path, 1, ODD)
    stored.path.write_bytes(other.path.read_bytes())
    with pytest.raises(Rewritten, match="other segments than its name says"):
        read_segment(tmp_path, "hub", 0)


def test_files_are_in_the_order_of_their_numbers_and_of_two_of_one_number_the_later_sealer_s_counts(
    tmp_path: Path,
) -> None:
    for number in (12, 2, 4):
        write(tmp_path, number, [access()])
    write(tmp_path, 2, [access(), access()], fence=1)
    assert [(file.first, file.fence) for file in files_of(tmp_path, "hub")] == [(2, 1), (4, 0), (12, 0)]
    assert len(read_segment(tmp_path, "hub", 2)) == 2
