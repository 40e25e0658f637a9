"""The ledger in a file."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.core.errors import Unavailable, Unrecorded
from keyturn.ledger.versions import CUT_INDEX, INDEX
from keyturn.providers.ledger.sqlite import NEWEST_CUT, NEWEST_VERSION, SqliteCopy, SqliteLedger
from keyturn.providers.ledger.sqlite_file import PAGE_SIZE
from tests.contracts.ledger import ROOT, LedgerContract, assert_unrecorded, written
from tests.faults.disk import Disk, growing_may_fail
from tests.ledger.entries import entries, entry
from tests.ledger.keys import ORIGIN, Key


class TestSqliteLedger(LedgerContract):
    """The contract."""

    @pytest.fixture
    def address(self, tmp_path: Path) -> str:
        return str(tmp_path / "state" / "keyturn" / "ledger.db")

    @pytest.fixture
    def key(self) -> Key:
        return Key()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def opened(file: Path, patience: float = 5) -> SqliteLedger:
    return SqliteLedger(file, ORIGIN, patience=patience)


def refused(file: Path) -> str:
    """Why an append fails."""
    with closing(opened(file, 0.2)) as ledger, pytest.raises(Unrecorded) as caught:
        ledger.append([entry()])
    assert_unrecorded(caught.value)
    assert f"write to the ledger {file}: " in str(caught.value)
    return str(caught.value)


def append_for_ever(ledger: SqliteLedger) -> None:
    while True:
        ledger.append(entries(500, 1_000))


def test_opening_touches_nothing(file: Path) -> None:
    opened(file).close()
    assert not file.parent.exists()


def test_only_its_owner_reads_it(file: Path) -> None:
    before = os.umask(0)
    try:
        with closing(opened(file)) as ledger:
            ledger.append([entry()])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_every_commit_waits_for_the_disk(file: Path) -> None:
    with closing(opened(file)) as ledger:
        ledger.append([entry()])
        connection = ledger._session._opened()
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == (b"wal",)
        assert connection.execute("PRAGMA page_size").fetchone() == (PAGE_SIZE,)


def test_a_path_may_hold_what_a_uri_may_not(tmp_path: Path) -> None:
    file = tmp_path / "a b?c=d#e%20f" / "ledger.db"
    with closing(opened(file)) as ledger:
        ledger.append([entry()])
    with SqliteCopy(file) as copy:
        assert len(list(copy.leaves())) == 1


def test_a_file_that_another_process_keeps_locked_is_given_up_after_a_while(file: Path) -> None:
    with closing(opened(file)) as ledger:
        ledger.append([entry()])
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "others have kept it locked for too long. Find the process that holds it" in refused(file)
        ledger.append([entry()])
        assert ledger.size() == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do it")
def test_a_directory_that_can_t_be_written_is_told(file: Path) -> None:
    file.parent.mkdir(mode=0o500)
    assert "permission denied. Check owner and mode of its directory" in refused(file)


def test_a_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "what should be its directory is a file" in refused(tmp_path / "file" / "ledger.db")
    assert "it can't be opened. Check owner and mode" in refused(tmp_path)


def test_a_read_only_medium_is_told(file: Path) -> None:
    with closing(opened(file)) as ledger:
        ledger.append([entry()])
    mounted = subprocess.run(["mount", "--bind", str(file.parent), str(file.parent)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this process may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(file.parent)], check=True)
        assert "it can't be" in refused(file)
        with SqliteCopy(file) as copy:
            assert len(list(copy.leaves())) == 1
    finally:
        subprocess.run(["umount", "--lazy", str(file.parent)], check=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no database, but a text that is long enough to be a header" * 40, "it is no SQLite file"),
        (b"SQLite format 3\x00" + b"\xff" * 5000, "SQLite refuses it|it is damaged|it is no SQLite file"),
    ],
)
def test_another_file_in_its_place_is_left_alone(file: Path, content: bytes, problem: str) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    assert any(one in refused(file) for one in problem.split("|"))
    assert file.read_bytes() == content


def test_another_database_in_its_place_is_left_alone(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY, entry TEXT)")
    assert "it is a database of something else. Give the ledger another place: KEYTURN_LEDGER" in refused(file)
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert other.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (1,)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("PRAGMA user_version = 2", "its schema 2 is not the 1 of this version. Use the newest Keyturn that wrote it"),
        (
            "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
            "a trigger or a view was added to it",
        ),
        ("DROP TABLE entries", "SQLite refuses it (code 1)"),
        ("INSERT INTO entries VALUES (9223372036854775807, '')", "its numbers were used up"),
    ],
)
def test_a_changed_schema_is_not_written(file: Path, statement: str, problem: str) -> None:
    with closing(opened(file)) as ledger:
        ledger.append([entry()])
    with closing(sqlite3.connect(file)) as other:
        other.executescript(statement)
    assert problem in refused(file)


def test_a_damaged_file_is_told(file: Path) -> None:
    with closing(opened(file)) as ledger:
        ledger.append(entries(2_000))
    with file.open("r+b") as raw:
        raw.seek(PAGE_SIZE)
        raw.write(b"\xff" * (file.stat().st_size - PAGE_SIZE))
    assert "it is damaged. Keep it aside, and bring the newest copy back" in refused(file)
    with closing(opened(file)) as ledger, pytest.raises(Unavailable, match="it is damaged"):
        list(ledger.leaves())


def test_a_file_that_was_moved_away_is_not_written_any_more(file: Path, tmp_path: Path) -> None:
    with closing(opened(file)) as ledger:
        ledger.append(entries(2))
        shutil.move(file.parent, tmp_path / "moved")
        ledger.append([entry(3)])
        assert written(ledger) == [entry(3)]
    with SqliteCopy(tmp_path / "moved" / "ledger.db") as moved:
        assert len(list(moved.leaves())) == 2


def test_on_a_full_disk_nothing_is_written_and_room_heals(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    with Disk(tmp_path / "disk") as disk:
        if not disk.mounted:
            pytest.skip("this process may not mount")
        with closing(opened(disk.directory / "ledger.db")) as ledger:
            ledger.append(entries(3))
            disk.fill()
            with pytest.raises(Unrecorded, match=r"the disk (is full|refuses it). Make room on it") as caught:
                append_for_ever(ledger)
            assert_unrecorded(caught.value)
            with pytest.raises(Unrecorded, match=r"the disk (is full|refuses it). Make room on it"):
                ledger.try_writing()
            disk.free()
            before = ledger.size()
            ledger.append([entry(4)])
            assert (before - 3) % 500 == 0
            assert len(written(ledger)) == before + 1


def test_where_the_file_may_not_grow_nothing_is_written_and_room_heals(file: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from keyturn.core.errors import Unrecorded
from keyturn.providers.ledger.address import open_ledger
from tests.ledger.entries import entries
ledger = open_ledger(sys.argv[1])
ledger.append(entries(3))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
try:
    ledger.append(entries(500, 4))
except Unrecorded as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert ledger.size() == 3
ledger.append(entries(1, 4))
"""
    with growing_may_fail():
        command = [sys.executable, "-c", program, str(file)]
        told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert f"write to the ledger {file}: the disk refuses it. Make room on it" in told.stdout
    with closing(opened(file)) as ledger:
        assert written(ledger) == entries(4)


def test_the_newest_versions_of_many_secrets_are_found_by_the_index(file: Path) -> None:
    given = [replace(entry(number), secret=f"a/{number % 500}", action="push") for number in range(1, 2_001)]
    with closing(opened(file)) as ledger:
        ledger.append(given)
        found = ledger.newest_versions([f"a/{number}" for number in range(600)])
        assert {secret: told.version for secret, told in found.items()} == {
            f"a/{number % 500}": number for number in range(1_501, 2_001)
        }
    with closing(sqlite3.connect(file)) as connection:
        for query, index in ((NEWEST_VERSION, INDEX), (NEWEST_CUT, CUT_INDEX)):
            (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {query}", ("a/1",)).fetchall()
            assert index in plan[3]
            connection.execute(f"DROP INDEX {index}")
    with closing(opened(file)) as ledger:
        assert ledger.newest_versions(["a/3"])["a/3"].version == 1_503


def test_a_ledger_that_may_only_be_read_tells_versions_without_the_index(file: Path) -> None:
    with closing(opened(file)) as ledger:
        ledger.append([replace(entry(5), secret="a/b", action="promote")])
    with closing(sqlite3.connect(file)) as lock, closing(opened(file, 0.1)) as ledger:
        lock.execute("BEGIN IMMEDIATE")
        assert ledger.newest_versions(["a/b"])["a/b"].version == 5


def test_a_file_that_is_no_ledger_can_t_tell_of_versions(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text("no database")
    with closing(opened(file, 0.1)) as ledger, pytest.raises(Unavailable):
        ledger.newest_versions(["a/b"])
