"""Making checkpoints: each continues the one before, or is not made."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Conflict, Rewritten
from keyturn.ledger.checkpointer import CheckpointInHub, sign_checkpoint
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint, trusted
from keyturn.ledger.merkle import CompactRange, leaf_hashes, tree_root
from keyturn.ledger.signed_notes import PublicKey
from keyturn.ledger.storage.tiles import nodes_of
from keyturn.ledger.verify import verify_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.wiring.ledger import make_checkpoint, public_key
from tests.ledger.conftest import Make
from tests.ledger.entries import entries
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.support.clock import Clock
from tests.support.hooks import Hooked, Once, Replaced
from tests.support.lab import Lab, fresh

Change = Callable[[str], None]


@pytest.fixture
def change(file: Path) -> Change:
    """Changes the file behind the ledger's back."""

    def run(statement: str) -> None:
        with sqlite3.connect(file) as connection:
            connection.executescript(statement)
        connection.close()

    return run


def made(found: Checkpoint | None) -> Checkpoint:
    assert found is not None
    return found


def test_a_checkpoint_is_signed_over_all_entries_and_stored_in_both_places(
    ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock, make: Make
) -> None:
    ledger.append(entries(600))
    first = made(make())
    expected = CompactRange()
    expected.extend(leaf_hashes(leaf for _, leaf in ledger.leaves()))
    assert first == Checkpoint(ORIGIN, 600, expected.root(), clock.now)
    assert trusted(first.note, [key.public()], verify_ed25519) == first
    assert [first.note] == list(ledger.checkpoints()) == [kept.note]
    ledger.append(entries(300, 601))
    second = made(make())
    assert list(ledger.checkpoints()) == [first.note, second.note]
    assert ledger.newest() == kept.note == second.note
    assert tree_root(nodes_of(ledger.tile), 900) == second.root
    assert tree_root(nodes_of(ledger.tile), 600) == first.root


def test_where_nothing_is_new_none_is_made(ledger: SqliteLedger, kept: Memory, make: Make) -> None:
    assert make() is None
    ledger.append(entries(3))
    assert make()
    version = kept.version
    assert make() is None
    assert len(list(ledger.checkpoints())) == 1
    assert kept.version == version


@pytest.mark.parametrize("thorough", [True, False])
def test_entries_that_were_cut_off_are_noticed_and_nothing_is_signed(
    ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock, change: Change, make: Make, thorough: bool
) -> None:
    ledger.append(entries(10))
    make()
    change("DELETE FROM entries WHERE sequence > 8")
    ledger.append(entries(1, 9))
    with pytest.raises(Rewritten, match=r"it has 9 entries, and the checkpoint of .* over 10 entries was made before"):
        sign_checkpoint(ledger, key, kept, clock, verify_ed25519, thorough=thorough)
    assert len(list(ledger.checkpoints())) == 1


@pytest.mark.parametrize("thorough", [True, False])
def test_a_file_that_was_rolled_back_with_its_checkpoints_is_told_by_the_copy_in_the_hub(
    ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock, file: Path, tmp_path: Path, make: Make, thorough: bool
) -> None:
    ledger.append(entries(10))
    make()
    ledger.close()
    shutil.copy(file, tmp_path / "backup")
    ledger.append(entries(10, 11))
    make()
    ledger.close()
    shutil.copy(tmp_path / "backup", file)
    ledger.append(entries(30, 11)[10:])
    with pytest.raises(Rewritten, match=r"its entries are not those that the checkpoint of .* over 20 entries"):
        sign_checkpoint(ledger, key, kept, clock, verify_ed25519, thorough=thorough)


def test_an_empty_file_in_place_of_the_ledger_is_told_by_the_copy_in_the_hub(
    ledger: SqliteLedger, file: Path, make: Make
) -> None:
    ledger.append(entries(10))
    make()
    ledger.close()
    file.unlink()
    with pytest.raises(Rewritten, match=r"it has 0 entries, and the checkpoint of .* over 10 entries"):
        make()


def test_an_entry_that_was_changed_is_noticed_before_the_next_one(
    ledger: SqliteLedger, change: Change, make: Make
) -> None:
    ledger.append(entries(10))
    make()
    change("UPDATE entries SET entry = replace(entry, 'on-call', 'nobody') WHERE sequence = 4")
    with pytest.raises(Rewritten, match="its entries are not those that the checkpoint"):
        make()
    ledger.append(entries(1, 11))
    with pytest.raises(Rewritten, match="its entries are not those that the checkpoint"):
        make()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE sequence = 12",
        "UPDATE entries SET sequence = 99 WHERE sequence = 12",
        "INSERT INTO entries VALUES (-1, 'x')",
    ],
)
def test_new_entries_that_are_out_of_order_are_not_signed(
    ledger: SqliteLedger, change: Change, make: Make, statement: str
) -> None:
    ledger.append(entries(10))
    make()
    ledger.append(entries(5, 11))
    change(statement)
    with pytest.raises(Rewritten, match=r"entry 12 is missing|where entry (12|1) should be"):
        make()


@pytest.mark.parametrize("thorough", [True, False])
def test_tiles_that_were_damaged_are_made_again_from_the_entries(
    ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock, change: Change, make: Make, thorough: bool
) -> None:
    for first in (1, 301):
        ledger.append(entries(300, first))
        make()
    change("DELETE FROM tiles WHERE level = 0 AND number = 0; UPDATE tiles SET hashes = zeroblob(32) WHERE level = 1")
    ledger.append(entries(100, 601))
    third = made(sign_checkpoint(ledger, key, kept, clock, verify_ed25519, thorough=thorough))
    assert tree_root(nodes_of(ledger.tile), 700) == third.root


def test_a_checkpoint_of_another_key_is_not_continued(ledger: SqliteLedger, kept: Memory, clock: Clock) -> None:
    ledger.append(entries(10))
    sign_checkpoint(ledger, Key(), kept, clock, verify_ed25519)
    kept.note = ""
    ledger.append(entries(1, 11))
    with pytest.raises(Rewritten, match="no key that is trusted has signed it"):
        sign_checkpoint(ledger, Key(), kept, clock, verify_ed25519)


def test_a_key_that_was_replaced_goes_on_from_the_copy_in_the_hub(
    ledger: SqliteLedger, kept: Memory, clock: Clock
) -> None:
    ledger.append(entries(10))
    sign_checkpoint(ledger, Key(), kept, clock, verify_ed25519)
    ledger.append(entries(1, 11))
    assert made(sign_checkpoint(ledger, Key(), kept, clock, verify_ed25519)).size == 11


def test_a_ledger_that_came_from_elsewhere_needs_its_name(
    ledger: SqliteLedger, file: Path, key: Key, clock: Clock, make: Make
) -> None:
    ledger.append(entries(10))
    make()
    moved = SqliteLedger(file, "keyturn/other", patience=5)
    with pytest.raises(Rewritten, match=r"newest checkpoint is one of keyturn/tests.*KEYTURN_LEDGER_NAME=tests"):
        sign_checkpoint(moved, key, Memory(), clock, verify_ed25519)
    moved.close()


def test_a_crash_before_the_copy_in_the_hub_is_mended_by_the_next_one(
    ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock, make: Make
) -> None:
    ledger.append(entries(10))
    sign_checkpoint(ledger, key, Memory(), clock, verify_ed25519)
    assert make() is None
    assert kept.note == ledger.newest()


def test_a_checkpoint_that_the_file_lost_comes_back_from_the_hub(
    ledger: SqliteLedger, kept: Memory, change: Change, make: Make
) -> None:
    ledger.append(entries(10))
    make()
    ledger.append(entries(10, 11))
    make()
    change("DELETE FROM checkpoints WHERE size = 20")
    assert make() is None
    assert ledger.newest() == kept.note
    assert tree_root(nodes_of(ledger.tile), 20) == read_checkpoint(kept.note).root


def test_whoever_comes_second_begins_again(
    ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock, make: Make
) -> None:
    ledger.append(entries(10))

    def other_is_quicker() -> None:
        assert make()
        ledger.append(entries(5, 11))

    late = Hooked(ledger, keep=Once(other_is_quicker))
    assert made(sign_checkpoint(late, key, kept, clock, verify_ed25519)).size == 15
    assert [read_checkpoint(note).size for note in ledger.checkpoints()] == [10, 15]
    assert read_checkpoint(kept.note).size == 15


def test_a_later_copy_in_the_hub_stays(ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock, make: Make) -> None:
    ledger.append(entries(10))

    def other_is_later() -> None:
        ledger.append(entries(5, 11))
        assert make()

    late = Hooked(kept, write=Once(other_is_later))
    assert made(sign_checkpoint(ledger, key, late, clock, verify_ed25519)).size == 10
    assert read_checkpoint(kept.note).size == 15


def test_somebody_who_is_always_quicker_wins(ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock) -> None:
    ledger.append(entries(10))

    def refuse(*_: object, **__: object) -> None:
        raise Conflict("keep", "a checkpoint", "another one was made meanwhile", "Make it again")

    late = Hooked(ledger, keep=refuse)
    with pytest.raises(Conflict):
        sign_checkpoint(late, key, kept, clock, verify_ed25519)


def test_the_copy_lies_in_keyturns_part_of_the_hub(lab: Lab, ledger: SqliteLedger, key: Key, clock: Clock) -> None:
    origin = f"keyturn/{fresh()}"
    kept = CheckpointInHub(lab.hub, origin)
    assert kept.read() == ("", 0)
    ledger.origin = origin
    ledger.append(entries(3))
    first = made(sign_checkpoint(ledger, key, kept, clock, verify_ed25519))
    assert kept.read() == (first.note, 1)
    assert f"ledgers/{origin}" in lab.hub.list_state("ledgers")
    with pytest.raises(Conflict):
        kept.write("", cas=0)


def test_a_key_that_never_leaves_the_hub_signs_and_may_be_rotated(lab: Lab, ledger: SqliteLedger, clock: Clock) -> None:
    name, origin = fresh(), f"keyturn/{fresh()}"
    ledger.origin = origin
    lab.root.secrets.transit.create_key(name, key_type="ed25519")
    keys, kept = [], CheckpointInHub(lab.hub, origin)
    for first in (1, 4):
        ledger.append(entries(3, first))
        signer = lab.hub.signer(name)
        keys.append(PublicKey(origin, signer.public_key()))
        assert made(sign_checkpoint(ledger, signer, kept, clock, verify_ed25519)).size == first + 2
        lab.root.secrets.transit.rotate_key(name)
    assert keys[0] != keys[1]
    report = verify_ledger(ledger, keys, verify_ed25519, elsewhere=[kept.read()[0]])
    assert (report.whole, report.vouched) == (True, 6)
    assert verify_ledger(ledger, keys[1:], verify_ed25519).problem is not None


class Counting:
    """The ledger itself, which counts the entries that are read of it."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        for row in self._ledger.tails(first, last):
            self.read += 1
            yield row


@pytest.fixture
def watched(lab: Lab, ledger: SqliteLedger) -> Counting:
    """A ledger with a name of its own, 900 entries and a checkpoint by the hub's key."""
    ledger.origin = f"keyturn/{fresh()}"
    ledger.append(entries(900))
    assert make_checkpoint(lab.hub, ledger, Clock())
    return Counting(ledger)


def test_a_checkpoint_reads_what_is_new_and_once_a_day_everything(
    lab: Lab, ledger: SqliteLedger, watched: Counting, clock: Clock
) -> None:
    told: Any = watched
    for first, hours, expected in ((901, 0, 10), (911, 23, 10), (921, 2, 10 + 930), (931, 1, 10), (941, 0, 10)):
        watched.read = 0
        clock.advance(timedelta(hours=hours))
        ledger.append(entries(10, first))
        made(make_checkpoint(lab.hub, told, clock))
        assert watched.read == expected
    watched.read = 0
    assert make_checkpoint(lab.hub, told, clock) is None
    assert watched.read == 0
    keys = [public_key(lab.hub, ledger.origin)]
    report = verify_ledger(ledger, keys, verify_ed25519, elsewhere=[CheckpointInHub(lab.hub, ledger.origin).read()[0]])
    assert (report.whole, report.vouched, report.checkpoints) == (True, 950, 7)


def test_an_old_entry_that_was_changed_is_found_by_the_verifier_at_once_and_stops_the_signer_within_a_day(
    lab: Lab, ledger: SqliteLedger, watched: Counting, clock: Clock, change: Change
) -> None:
    change("UPDATE entries SET entry = replace(entry, 'on-call', 'nobody') WHERE sequence = 4")
    ledger.append(entries(10, 901))
    made(make_checkpoint(lab.hub, ledger, clock))
    problem = verify_ledger(ledger, [public_key(lab.hub, ledger.origin)], verify_ed25519).problem
    assert problem
    assert (problem.first, problem.last) == (4, 4)
    clock.advance(timedelta(days=1))
    for _ in range(2):
        with pytest.raises(Rewritten, match="its entries are not those that the checkpoint"):
            make_checkpoint(lab.hub, ledger, clock)
        clock.advance(timedelta(minutes=5))


def test_a_tile_that_was_changed_never_gets_into_what_is_signed(
    lab: Lab, ledger: SqliteLedger, watched: Counting, clock: Clock, change: Change
) -> None:
    change("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE level = 1")
    ledger.append(entries(40, 901))
    made(make_checkpoint(lab.hub, ledger, clock))
    keys = [public_key(lab.hub, ledger.origin)]
    assert verify_ledger(ledger, keys, verify_ed25519, elsewhere=list(ledger.checkpoints())).whole


def test_a_tile_that_changes_between_its_comparison_and_its_use_is_used_as_it_was_compared(
    lab: Lab, ledger: SqliteLedger, watched: Counting, clock: Clock
) -> None:
    ledger.append(entries(40, 901))
    stored: dict[tuple[int, int], int] = {}
    tile = ledger.tile

    def changing(level: int, number: int) -> bytes:
        """The true tile at first, and another one at every later time."""
        seen = stored[level, number] = stored.get((level, number), 0) + 1
        return tile(level, number) if seen == 1 else bytes(len(tile(level, number)))

    told: Any = Replaced(ledger, tile=changing)
    made(make_checkpoint(lab.hub, told, clock))
    assert verify_ledger(ledger, [public_key(lab.hub, ledger.origin)], verify_ed25519).whole
