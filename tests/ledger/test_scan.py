"""Scanning the ledger in parts gives the same result as scanning it whole."""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.merkle import CompactRange, leaf_hashes, subtrees_of
from keyturn.ledger.reader import AT_ONCE
from keyturn.ledger.scan import Scan, scan_entries
from keyturn.ledger.verify import Verification, verify_ledger
from keyturn.providers.ledger import scanning
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.scanning import ScanOrder, answer, parts, scan_side_by_side, started
from keyturn.providers.ledger.sqlite import SqliteCopy, SqliteLedger
from tests.ledger.entries import entries
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.support.clock import Clock

SIZE = 2 * AT_ONCE + 700
ENDS = [300, AT_ONCE, AT_ONCE + 1, SIZE - 50]


@pytest.fixture(scope="module")
def key() -> Key:
    """What signs checkpoints."""
    return Key()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, key: Key) -> Path:
    """A ledger of three batches with a checkpoint at each of ENDS, for nobody to change."""
    file, kept, begun = tmp_path_factory.mktemp("scan") / "ledger.db", Memory(), 0
    with closing(SqliteLedger(file, ORIGIN, patience=5)) as ledger:
        for end in ENDS:
            ledger.append(entries(end - begun, begun + 1))
            assert sign_checkpoint(ledger, key, kept, Clock(), verify_ed25519, thorough=False)
            begun = end
        ledger.append(entries(SIZE - begun, begun + 1))
    return file


@pytest.fixture
def source(file: Path) -> Iterator[SqliteCopy]:
    """That ledger, opened."""
    with SqliteCopy(file) as copy:
        yield copy


def shared(source: SqliteCopy, ends: list[int]) -> Scan:
    """Scanned by two processes, few as the entries are."""
    return scan_side_by_side(source, ends, enough=0, processes=2)


def verified(source: SqliteCopy, key: Key) -> Verification:
    """What the verifier tells, the entries being scanned by two processes."""
    side_by_side = partial(scan_side_by_side, enough=0, processes=2)
    return verify_ledger(source, [key.public()], verify_ed25519, scan=side_by_side)


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 8), (3, 14), (5, 1), (7, 130), (96, 32)])
def test_subtrees_of_a_range_make_up_the_same_tree_as_its_leaves(first: int, count: int) -> None:
    hashes = leaf_hashes(b"%d" % number for number in range(first + count))
    by_leaves, by_subtrees = CompactRange(), CompactRange()
    by_leaves.extend(hashes)
    by_subtrees.extend(hashes[:first])
    subtrees = subtrees_of(first, hashes[first:])
    for subtree in subtrees:
        by_subtrees.add(subtree)
    assert (by_subtrees.size, by_subtrees.root()) == (first + count, by_leaves.root())
    assert len(subtrees) <= 2 * count.bit_length()


def test_a_subtree_is_added_nowhere_but_where_one_of_its_size_begins() -> None:
    tree = CompactRange()
    tree.add((0, bytes(32)))
    with pytest.raises(ValueError, match="no subtree of level 1 begins at 1"):
        tree.add((1, bytes(32)))


def test_parts_hold_every_entry_once_and_every_end_in_the_part_that_it_is_in(file: Path) -> None:
    for size, count in ((SIZE, 2), (SIZE, 3), (10, 4), (AT_ONCE, 2), (40 * AT_ONCE, 4)):
        made = list(parts(file, size, ENDS, count))
        assert [part.first for part in made] == [1, *(part.last + 1 for part in made if part.last)]
        assert [part.last for part in made].index(None) == len(made) - 1
        assert sorted({*ENDS, *(part.last for part in made if part.last)}) == [e for part in made for e in part.ends]


def test_two_processes_find_what_one_finds(source: SqliteCopy) -> None:
    alone, together = scan_entries(source, ENDS), shared(source, ENDS)
    assert (together.read, together.misplaced, together.broken) == (alone.read, None, None) == (SIZE, None, None)
    roots = []
    for scan in (alone, together):
        tree, told = CompactRange(), {}
        for end, subtrees in scan.subtrees.items():
            for subtree in subtrees:
                tree.add(subtree)
            told[end] = tree.root()
        roots.append([told[end] for end in ENDS])
    assert roots[0] == roots[1]


def test_a_whole_ledger_verifies_by_two_processes(source: SqliteCopy, key: Key) -> None:
    report = verified(source, key)
    assert (report.whole, report.entries, report.vouched, report.checkpoints) == (True, SIZE, ENDS[-1], len(ENDS))


EDIT = "UPDATE entries SET entry = replace(entry, 'on-call', 'nobody') WHERE sequence = ?"
REMOVE = "DELETE FROM entries WHERE sequence = ?"


@pytest.mark.parametrize(
    ("statement", "first"),
    [(EDIT, 17), (EDIT, SIZE - 60), (REMOVE, AT_ONCE), (REMOVE, AT_ONCE + 1), (REMOVE, SIZE - 3)],
)
@pytest.mark.attack
def test_a_change_is_found_in_every_part_of_the_ledger(
    file: Path, tmp_path: Path, key: Key, statement: str, first: int
) -> None:
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(file)) as original, closing(sqlite3.connect(copy)) as changed:
        original.backup(changed)
        changed.execute(statement, (first,))
        changed.commit()
    with SqliteCopy(copy) as source:
        together = verified(source, key)
        assert together.problem
        assert together.problem.first == first
        assert together == verify_ledger(source, [key.public()], verify_ed25519)


def test_a_part_whose_process_dies_is_scanned_here(source: SqliteCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    died = []

    @contextmanager
    def dead(part: ScanOrder) -> "Iterator[subprocess.Popen[bytes]]":
        with started(part) as process:
            process.kill()
            process.wait()
            died.append(part)
            yield process

    monkeypatch.setattr(scanning, "started", dead)
    assert shared(source, ENDS).subtrees.keys() >= set(ENDS)
    assert len(died) == 1
    with dead(died[0]) as process:
        assert answer(process) is None


def test_a_scan_that_fails_leaves_no_process(source: SqliteCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    @contextmanager
    def noted(part: ScanOrder) -> "Iterator[subprocess.Popen[bytes]]":
        with started(part) as process:
            begun.append(process)
            yield process

    def fail(*_: object) -> Scan:
        raise OSError("the disk has gone")

    monkeypatch.setattr(scanning, "started", noted)
    monkeypatch.setattr(ScanOrder, "scan", fail)
    with pytest.raises(OSError, match="the disk has gone"):
        shared(source, ENDS)
    assert [process.returncode is not None for process in begun] == [True]
