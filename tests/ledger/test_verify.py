"""The verifier detects every change of a ledger copy and names the first bad entry."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.core.errors import Rewritten, Unavailable
from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.entries import leaf, parse_leaf
from keyturn.ledger.export_file import Exported, write_export
from keyturn.ledger.merkle import leaf_hashes
from keyturn.ledger.storage.tiles import grown
from keyturn.ledger.verify import Verification, verify_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteCopy, SqliteLedger
from tests.ledger.entries import entries, entry
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.support.clock import Clock

FIRST, SECOND, THIRD, ALL = 300, 700, 1000, 1050
"""How many entries the checkpoints cover, and how many there are."""

Leaves = list[bytes]


class Original:
    """The file of a ledger with three checkpoints and some entries after them, its key, and what the hub keeps."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.key, self.kept = Key(), Memory()
        with closing(SqliteLedger(file, ORIGIN, patience=5)) as ledger:
            begun = 0
            for size in (FIRST, SECOND, THIRD):
                ledger.append(entries(size - begun, begun + 1))
                assert sign_checkpoint(ledger, self.key, self.kept, Clock(), verify_ed25519)
                begun = size
            ledger.append(entries(ALL - THIRD, THIRD + 1))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """Made once, for nobody to change."""
    return Original(tmp_path_factory.mktemp("original") / "ledger.db")


@pytest.fixture
def key(original: Original) -> Key:
    """The original's."""
    return original.key


@pytest.fixture
def kept(original: Original) -> Memory:
    """The original's."""
    return original.kept


@pytest.fixture
def copy(original: Original, tmp_path: Path) -> Path:
    """A copy for somebody to change."""
    return Path(shutil.copy(original.file, tmp_path / "copy.db"))


@pytest.fixture
def look(key: Key) -> Callable[..., Verification]:
    """Verifies a copy."""

    def run(copy: Path, *known: str) -> Verification:
        with SqliteCopy(copy) as source:
            return verify_ledger(source, [key.public()], verify_ed25519, elsewhere=known)

    return run


@contextmanager
def opened(copy: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(copy)) as connection, connection:
        yield connection


def leaves_of(copy: Path) -> Leaves:
    with SqliteCopy(copy) as source:
        return [leaf for _, leaf in source.leaves()]


def write(copy: Path, leaves: Sequence[bytes]) -> None:
    """Put these in place of all entries, stored in their order."""
    with opened(copy) as connection:
        connection.execute("DELETE FROM entries")
        rows = ((number, leaf.partition(b",")[2].decode()) for number, leaf in enumerate(leaves, 1))
        connection.executemany("INSERT INTO entries VALUES (?, ?)", rows)


def renumbered(leaves: Sequence[bytes]) -> Leaves:
    """The same with the numbers that they should have at their places."""
    return [leaf(number, parse_leaf(one).entry) for number, one in enumerate(leaves, 1)]


def cover_up(copy: Path) -> None:
    """Make everything that is not signed fit the entries."""
    tiles = grown(lambda level, number: b"", 0, leaf_hashes(leaves_of(copy)[:THIRD]))
    with opened(copy) as connection:
        connection.execute("DELETE FROM tiles")
        rows = ((level, number, hashes) for (level, number), hashes in tiles.items())
        connection.executemany("INSERT INTO tiles VALUES (?, ?, ?)", rows)


def edited(leaves: Leaves, at: int) -> Leaves:
    changed = replace(parse_leaf(leaves[at - 1]).entry, actor="nobody")
    return [*leaves[: at - 1], leaf(at, changed), *leaves[at:]]


def deleted(leaves: Leaves, at: int) -> Leaves:
    return [*leaves[: at - 1], *leaves[at:]]


def swapped(leaves: Leaves, at: int) -> Leaves:
    return [*leaves[: at - 1], leaves[at], leaves[at - 1], *leaves[at + 1 :]]


def inserted(leaves: Leaves, at: int) -> Leaves:
    return [*leaves[: at - 1], leaf(at, entry(9999)), *leaves[at - 1 :]]


CHANGES = [edited, deleted, swapped, inserted]
Changes = Callable[[Leaves, int], Leaves]


def test_an_untouched_ledger_is_whole_and_what_is_not_vouched_for_is_told(
    copy: Path, look: Callable[..., Verification], kept: Memory
) -> None:
    report = look(copy, kept.note)
    assert report.whole
    assert report.problem is None
    assert (report.entries, report.vouched, report.checkpoints) == (ALL, THIRD, 4)
    assert report.newest == read_checkpoint(kept.note)


def test_verifying_leaves_the_file_as_it_is(copy: Path, look: Callable[..., Verification]) -> None:
    before = copy.read_bytes()
    look(copy)
    assert copy.read_bytes() == before
    assert [path.name for path in copy.parent.iterdir() if path.name.startswith("copy")] == ["copy.db"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at", [1, 2, 32, 33, 257, 300, 301, 512, 513, 699, 700, 701, 999])
def test_the_first_bad_entry_is_named(copy: Path, look: Callable[..., Verification], change: Changes, at: int) -> None:
    write(copy, change(leaves_of(copy), at))
    problem = look(copy).problem
    assert problem
    assert (problem.first, problem.last) == (at, at)
    assert f"entry {at} is not what it was when the checkpoint of " in str(problem)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at", [1, 299, 301, 450, 699, 999])
def test_where_everything_that_is_not_signed_fits_too_the_checkpoints_around_it_are_named(
    copy: Path, look: Callable[..., Verification], change: Changes, at: int
) -> None:
    write(copy, change(leaves_of(copy), at))
    cover_up(copy)
    before, after = next((a, b) for a, b in ((0, FIRST), (FIRST, SECOND), (SECOND, THIRD)) if at <= b)
    report = look(copy)
    assert report.problem
    assert (report.problem.first, report.problem.last) == (before + 1, after)
    assert f"one of the entries {before + 1} to {after} was changed" in str(report.problem)
    assert report.vouched == before


@pytest.mark.parametrize("covered_up", [False, True])
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM entries WHERE sequence = 450", "entry 450 is missing: after 449 comes 451"),
        ("DELETE FROM entries WHERE sequence = 1", "entry 1 is missing: after 0 comes 2"),
        ("UPDATE entries SET sequence = -3 WHERE sequence = 1", "where entry 1 should be is one with the number -3"),
        ("INSERT INTO entries VALUES (0, '{}')", "where entry 1 should be is one with the number 0"),
        ("DELETE FROM entries WHERE sequence > 900", "the entries 901 to 1000 are missing: the checkpoint of "),
        ("DELETE FROM entries WHERE sequence >= 1000", "entry 1000 is missing: the checkpoint of "),
        ("DELETE FROM entries WHERE sequence = 1020", "entry 1020 is missing: after 1019 comes 1021"),
    ],
)
def test_entries_that_are_out_of_order_are_named(
    copy: Path, look: Callable[..., Verification], statement: str, problem: str, covered_up: bool
) -> None:
    with opened(copy) as connection:
        connection.execute(statement)
        if covered_up:
            connection.execute("DELETE FROM tiles")
    found = look(copy).problem
    assert found
    assert str(found).startswith(problem)
    assert found.first == found.last == int(problem.split("entry " if "entry" in problem else "entries ")[1].split()[0])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = '' WHERE sequence = 450",
        "UPDATE entries SET entry = x'00' WHERE sequence = 450",
        "UPDATE entries SET entry = ' ' || entry WHERE sequence = 450",
        "UPDATE entries SET entry = (SELECT entry FROM entries WHERE sequence = 451) WHERE sequence = 450",
    ],
)
def test_whatever_is_put_in_an_entrys_place_is_named(
    copy: Path, look: Callable[..., Verification], statement: str
) -> None:
    with opened(copy) as connection:
        connection.execute(statement)
    problem = look(copy).problem
    assert problem
    assert (problem.first, problem.last) == (450, 450)


def test_a_change_before_a_gap_is_named_first(copy: Path, look: Callable[..., Verification]) -> None:
    write(copy, edited(leaves_of(copy), 400))
    with opened(copy) as connection:
        connection.execute("DELETE FROM entries WHERE sequence = 600 OR sequence > 900")
    problem = look(copy).problem
    assert problem
    assert (problem.first, problem.last) == (400, 400)


def test_tiles_that_fit_only_in_part_narrow_it_down_as_far(copy: Path, look: Callable[..., Verification]) -> None:
    write(copy, edited(leaves_of(copy), 650))
    with opened(copy) as connection:
        connection.execute("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND number = 20")
    problem = look(copy).problem
    assert problem
    assert (problem.first, problem.last) == (641, 672)


@pytest.mark.parametrize("covered_up", [False, True])
def test_a_ledger_cut_back_to_an_older_checkpoint_is_told_by_one_that_is_held_elsewhere(
    copy: Path, look: Callable[..., Verification], kept: Memory, covered_up: bool
) -> None:
    with opened(copy) as connection:
        connection.executescript("DELETE FROM entries WHERE sequence > 650; DELETE FROM checkpoints WHERE size > 300")
    if covered_up:
        cover_up(copy)
    assert look(copy).whole
    report = look(copy, kept.note)
    assert str(report.problem).startswith("the entries 651 to 1000 are missing: the checkpoint of ")
    assert report.vouched == FIRST


def test_a_ledger_without_any_checkpoint_vouches_for_nothing(
    copy: Path, look: Callable[..., Verification], kept: Memory
) -> None:
    write(copy, edited(leaves_of(copy), 450))
    with opened(copy) as connection:
        connection.executescript("DELETE FROM checkpoints; DELETE FROM tiles")
    report = look(copy)
    assert (report.entries, report.vouched, report.checkpoints, report.newest) == (ALL, 0, 0, None)
    problem = look(copy, kept.note).problem
    assert problem
    assert (problem.first, problem.last) == (1, THIRD)


def set_note(copy: Path, size: int, note: str) -> None:
    with opened(copy) as connection:
        connection.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note, size))


def note_of(copy: Path, size: int) -> str:
    with SqliteCopy(copy) as source:
        return next(note for note in source.checkpoints() if read_checkpoint(note).size == size)


def test_a_checkpoint_that_somebody_else_signed_is_named(copy: Path, look: Callable[..., Verification]) -> None:
    forged = read_checkpoint(note_of(copy, SECOND)).sign(Key())
    set_note(copy, SECOND, forged.note)
    report = look(copy)
    assert str(report.problem) == (
        "checkpoint 2 was not made by this ledger's key: no key that is trusted has signed it"
    )
    assert (report.vouched, report.checkpoints) == (THIRD, 2)


def test_entries_and_checkpoints_that_were_all_made_anew_vouch_for_nothing(
    copy: Path, look: Callable[..., Verification], kept: Memory
) -> None:
    write(copy, edited(leaves_of(copy), 450))
    cover_up(copy)
    thief = Key()
    with opened(copy) as connection:
        for size, note in connection.execute("SELECT size, note FROM checkpoints").fetchall():
            forged = replace(read_checkpoint(note), root=bytes(32)).sign(thief).note
            connection.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (forged, size))
    report = look(copy, kept.note)
    assert (report.problem and report.problem.first, report.vouched) == (1, 0)
    assert [str(problem)[:12] for problem in report.problems[1:]] == ["checkpoint 1", "checkpoint 2", "checkpoint 3"]


def test_a_checkpoint_whose_text_was_changed_is_named(copy: Path, look: Callable[..., Verification]) -> None:
    set_note(copy, SECOND, note_of(copy, SECOND).replace("\n700\n", "\n600\n"))
    assert "checkpoint 2 was not made by this ledger's key: the signature" in str(look(copy).problem)


@pytest.mark.parametrize("note", ["", "no note", "\ud800"])
def test_what_is_no_checkpoint_is_named(copy: Path, look: Callable[..., Verification], note: str) -> None:
    with opened(copy) as connection:
        bytes_ = note.encode(errors="surrogatepass")
        connection.execute("UPDATE checkpoints SET note = CAST(? AS TEXT) WHERE size = 700", (bytes_,))
    assert str(look(copy).problem).startswith("checkpoint 2 was not made by this ledger's key: it is not a signed note")


@pytest.mark.parametrize(("place", "other"), [(THIRD, FIRST), (THIRD, SECOND), (SECOND, FIRST)])
def test_an_older_checkpoint_put_in_place_of_a_newer_one_is_named(
    copy: Path, look: Callable[..., Verification], place: int, other: int
) -> None:
    set_note(copy, place, note_of(copy, other))
    number = {SECOND: 2, THIRD: 3}[place]
    assert f"checkpoint {number} covers {other} entries, and one before it" in str(look(copy).problem)


def test_a_checkpoint_of_another_ledger_is_named(copy: Path, look: Callable[..., Verification], key: Key) -> None:
    other = replace(read_checkpoint(note_of(copy, SECOND)), origin="keyturn/other").sign(key)
    set_note(copy, SECOND, other.note)
    assert "checkpoint 2 was not made by this ledger's key: no key that is trusted" in str(look(copy).problem)


def test_a_key_that_was_replaced_is_given_beside_its_successor(copy: Path, key: Key) -> None:
    with SqliteCopy(copy) as source:
        assert verify_ledger(source, [Key().public(), key.public()], verify_ed25519).whole
        report = verify_ledger(source, [Key().public()], verify_ed25519)
    assert len(report.problems) == 3
    assert report.vouched == 0


def test_a_damaged_file_is_told(copy: Path, look: Callable[..., Verification]) -> None:
    with copy.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size // 3)
        file.write(b"\xff" * (size // 3))
    assert "it can't be read from entry " in str(look(copy).problem) or "tile" in str(look(copy).problem)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE sequence = NEW.sequence; END",
            "a trigger or a view was added to it",
        ),
        (
            "ALTER TABLE entries RENAME TO real; CREATE VIEW entries AS SELECT * FROM real",
            "a trigger or a view was added to it",
        ),
        ("PRAGMA user_version = 2", "its schema 2 is not the 1 of this version"),
        ("PRAGMA application_id = 0", "it is a database of something else"),
    ],
)
def test_a_file_that_is_no_ledger_is_not_read(
    copy: Path, look: Callable[..., Verification], statement: str, problem: str
) -> None:
    with opened(copy) as connection:
        connection.executescript(statement)
    with pytest.raises(Rewritten, match=problem):
        look(copy)


@pytest.mark.parametrize("statement", ["ALTER TABLE entries RENAME COLUMN entry TO other", "DROP TABLE entries"])
def test_a_file_without_its_tables_is_damaged(copy: Path, look: Callable[..., Verification], statement: str) -> None:
    with opened(copy) as connection:
        connection.executescript(statement)
    problem = look(copy).problem
    assert problem
    assert problem.first == 1
    assert "it can't be read from entry 1 on" in str(problem)


def test_a_copy_that_is_written_while_it_is_read_is_read_again(copy: Path) -> None:
    with SqliteCopy(copy) as source:
        list(source.leaves())
        with opened(copy) as connection:
            connection.execute("DELETE FROM entries WHERE sequence = 1")
        with pytest.raises(Unavailable, match="it was written while it was read"):
            list(source.leaves())


def test_a_missing_file_is_unavailable(tmp_path: Path, look: Callable[..., Verification]) -> None:
    with pytest.raises(Unavailable, match="there is no such file"):
        look(tmp_path / "absent.db")


def test_a_ledger_that_is_being_written_is_verified_as_it_stood(copy: Path, key: Key, kept: Memory) -> None:
    with closing(SqliteLedger(copy, ORIGIN, patience=5)) as ledger:
        ledger.append(entries(5, ALL + 1))
        with SqliteCopy(copy) as source:
            assert len(list(source.checkpoints())) == 3
            ledger.append(entries(5, ALL + 6))
            assert sign_checkpoint(ledger, key, Memory(), Clock(), verify_ed25519)
            report = verify_ledger(source, [key.public()], verify_ed25519)
    assert (report.whole, report.entries, report.vouched) == (True, ALL + 5, THIRD)


class TestExport:
    """The same on files of JSON Lines, which have no tiles."""

    @pytest.fixture
    def export(self, original: Original, tmp_path: Path) -> tuple[Path, Path]:
        entries_, checkpoints = tmp_path / "entries.jsonl", tmp_path / "checkpoints.jsonl"
        with SqliteCopy(original.file) as source:
            assert write_export(source, entries_, checkpoints) == ALL
        return entries_, checkpoints

    def verified(self, export: tuple[Path, Path], key: Key) -> Verification:
        return verify_ledger(Exported(*export), [key.public()], verify_ed25519)

    def test_it_is_whole_and_private(self, export: tuple[Path, Path], key: Key) -> None:
        report = self.verified(export, key)
        assert (report.whole, report.entries, report.vouched, report.checkpoints) == (True, ALL, THIRD, 3)
        assert [path.stat().st_mode & 0o777 for path in export] == [0o600, 0o600]

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_change_is_told_between_checkpoints(self, export: tuple[Path, Path], key: Key, change: Changes) -> None:
        lines = renumbered(change(export[0].read_bytes().splitlines(), 450))
        export[0].write_bytes(b"\n".join(lines))
        problem = self.verified(export, key).problem
        assert problem
        assert (problem.first, problem.last) == (FIRST + 1, SECOND)

    @pytest.mark.parametrize("change", [deleted, swapped, inserted])
    def test_lines_out_of_order_are_named(self, export: tuple[Path, Path], key: Key, change: Changes) -> None:
        export[0].write_bytes(b"\n".join(change(export[0].read_bytes().splitlines(), 450)))
        problem = self.verified(export, key).problem
        assert problem
        assert problem.first == problem.last
        assert problem.first in (450, 451)

    def test_a_line_that_is_no_entry_is_named(self, export: tuple[Path, Path], key: Key) -> None:
        lines = export[0].read_bytes().splitlines()
        export[0].write_bytes(b"\n".join([*lines[:449], b"", *lines[449:]]))
        problem = self.verified(export, key).problem
        assert problem
        assert problem.first == problem.last == 450

    def test_lines_that_are_cut_off_are_missed(self, export: tuple[Path, Path], key: Key) -> None:
        export[0].write_bytes(b"\n".join(export[0].read_bytes().splitlines()[:900]))
        assert str(self.verified(export, key).problem).startswith("the entries 901 to 1000 are missing")

    def test_a_line_that_is_no_checkpoint_is_told(self, export: tuple[Path, Path], key: Key) -> None:
        export[1].write_text("[]\n")
        assert "a line of it is no checkpoint" in str(self.verified(export, key).problem)

    def test_without_checkpoints_nothing_is_vouched_for(self, export: tuple[Path, Path], key: Key) -> None:
        report = self.verified((export[0], None), key)  # type: ignore[arg-type]
        assert (report.whole, report.vouched) == (True, 0)

    def test_files_that_are_not_there_are_unavailable(self, tmp_path: Path, key: Key) -> None:
        with pytest.raises(Unavailable, match="no such file"):
            self.verified((tmp_path / "a", tmp_path / "b"), key)
        with pytest.raises(Unavailable, match="no such file"):
            write_export(Exported(tmp_path / "a"), tmp_path / "absent" / "b")
