"""What every ledger must do: one suite over all adapters of :class:`keyturn.ledger.ports.StoredLedger`.

An adapter's test module writes ``class TestItsName(LedgerContract)`` with the fixture ``address``, and adds the cases
that only its system has.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.core.errors import Conflict, Invalid, KeyturnError, NotFound
from keyturn.core.ports.ledger import Entry, NewestVersion, Outcome
from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.entries import Numbered, leaf, parse_leaf
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.proofs import check_growth, check_proof, prove_entry, prove_growth
from keyturn.ledger.verify import verify_ledger
from keyturn.providers.ledger.address import open_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from tests.ledger.entries import entries, entry
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.support.clock import Clock

ROOT = Path(__file__).parent.parent.parent

Open = Callable[[], StoredLedger]


def assert_unrecorded(error: KeyturnError) -> None:
    """It says what to do, and nothing of the system below hangs on it."""
    assert error.hint
    assert error.__cause__ is None
    assert error.__suppress_context__


def written(ledger: StoredLedger) -> list[Entry]:
    """All entries; their numbers go from 1 without a gap."""
    found = [(stored, parse_leaf(leaf)) for stored, leaf in ledger.leaves()]
    assert [stored for stored, _ in found] == [told.sequence for _, told in found] == list(range(1, len(found) + 1))
    return [told.entry for _, told in found]


def writer(address: str, first: int, count: int, batch: int) -> "subprocess.Popen[str]":
    """Another process that writes."""
    command = [sys.executable, "-m", "tests.ledger.writing", address, str(first), str(count), str(batch)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


class LedgerContract:
    """The cases."""

    @pytest.fixture
    def address(self) -> str:
        """Where a ledger is that nobody has used."""
        raise NotImplementedError

    @pytest.fixture
    def open_one(self, address: str) -> Iterator[Open]:
        """Opens ledgers onto the address."""
        with ExitStack() as stack:

            def run() -> StoredLedger:
                ledger = open_ledger(address, origin=ORIGIN)
                stack.callback(ledger.close)
                return ledger

            yield run

    @pytest.fixture
    def ledger(self, open_one: Open) -> StoredLedger:
        """The adapter under test."""
        return open_one()

    def test_entries_are_numbered_and_read_back_as_they_were(self, ledger: StoredLedger) -> None:
        assert (ledger.size(), ledger.newest(), list(ledger.checkpoints()), written(ledger)) == (0, "", [], [])
        ledger.append(entries(3))
        ledger.append([])
        ledger.append(entries(2, 4))
        assert ledger.size() == 5
        assert written(ledger) == entries(5)

    def test_what_is_read_are_the_canonical_bytes(self, ledger: StoredLedger) -> None:
        texts = ["", 'quotes " and \\', "\x00\x07\t\n\r\x1f\x7f", "Größe 漢字 🔑", "{}', %s %(x)s ; --", "\u2028\ufffe"]
        given = [entry(number, text) for number, text in enumerate(texts, 1)]
        ledger.append(given)
        assert list(ledger.leaves()) == [(number, leaf(number, one)) for number, one in enumerate(given, 1)]

    def test_a_part_is_read(self, ledger: StoredLedger) -> None:
        ledger.append(entries(20))
        assert [number for number, _ in ledger.leaves(5, 7)] == [5, 6, 7]
        assert [number for number, _ in ledger.leaves(18)] == [18, 19, 20]
        assert list(ledger.leaves(21)) == list(ledger.leaves(7, 5)) == []

    def test_many_entries_are_read_in_pages(self, ledger: StoredLedger) -> None:
        for first in range(1, 12_001, 4_000):
            ledger.append(entries(4_000, first))
        assert len(written(ledger)) == 12_000
        assert len(list(ledger.leaves(1_001, 11_000))) == 10_000

    def test_the_last_entry_that_tells_of_a_secrets_version_is_found_and_no_other(self, ledger: StoredLedger) -> None:
        assert ledger.newest_versions(["a/b"]) == {}

        def told(secret: str, version: int, action: str = "promote", outcome: Outcome = Outcome.DONE) -> Entry:
            note = ',"secret":"x","action":"push","outcome":"done"'
            return replace(entry(version, note), secret=secret, action=action, outcome=outcome)

        def known(version: int, action: str = "promote") -> NewestVersion:
            return NewestVersion(action, version, entry(version).fingerprint)

        first = [told("a/b", number, action) for number, action in enumerate(("promote", "push", "revert"), 1)]
        ledger.append([*first, told("a/bc", 40), told("a", 50), told("", 60), told('odd "path', 70)])
        assert ledger.newest_versions(["a/b", "a/bc", "none"]) == {"a/b": known(3, "revert"), "a/bc": known(40)}
        unlike = [("stage", Outcome.DONE), ("push", Outcome.FAILED), ("push", Outcome.BEGUN)]
        ledger.append([told("a/b", 9, action, outcome) for action, outcome in unlike])
        assert ledger.newest_versions(["a/b"]) == {"a/b": known(3, "revert")}
        ledger.append([told("a/b", 2, "recover")])
        assert ledger.newest_versions(["a/b"] * 2) == {"a/b": known(2, "recover")}
        ledger.append(entries(3, 8))
        ledger.close()
        assert ledger.newest_versions(["a/bc", "a/b"])["a/bc"] == known(40)

    def test_a_cut_that_is_later_than_the_newest_version_is_told_and_of_whom(self, ledger: StoredLedger) -> None:
        def told(secret: str, version: int, action: str, note: str = "", outcome: Outcome = Outcome.DONE) -> Entry:
            return replace(
                entry(version or 1), secret=secret, version=version, action=action, note=note, outcome=outcome
            )

        def cut(secret: str, incident: str, last: int) -> Entry:
            return told(secret, last, "cut", incident, Outcome.BEGUN)

        def ended(secret: str) -> tuple[int, str, int]:
            newest = ledger.newest_versions([secret])[secret]
            return newest.version, newest.revoked_by, newest.revoked_up_to

        ledger.append([told("a/b", 3, "promote"), cut("a/b", "INC-1; catalogue 0f", 4), cut("a/c", "INC-2", 0)])
        assert ended("a/b") == (3, "INC-1", 4)
        assert ended("a/c") == (0, "INC-2", 0)
        ledger.append([told("a/b", 5, "promote")])
        assert ended("a/b") == (5, "", 0)
        ledger.append([cut("a/b", "INC-1", 4)])
        assert ended("a/b") == (5, "", 0), "what was cut once more has a replacement"
        ledger.append([cut("a/b", "version 3", 9), told("a/b", 9, "cut", "INC-3"), told("a/c", 1, "stage", "INC-4")])
        assert ended("a/b") == (5, "", 0), "an old version's end, and one that has no beginning, are no incident's cut"
        ledger.append([cut("a/b", "INC-5", 5)])
        assert ended("a/b") == (5, "INC-5", 5)

    def test_an_entry_that_can_t_be_written_leaves_out_those_with_it(self, ledger: StoredLedger) -> None:
        naive = Entry(entry().time.replace(tzinfo=None), "me", "do", entry().outcome)
        with pytest.raises(Invalid, match="its time has no zone"):
            ledger.append([entry(1), naive])
        ledger.append([entry(2)])
        assert written(ledger) == [entry(2)]

    def test_what_it_has_is_not_written_again(self, ledger: StoredLedger) -> None:
        ledger.append(entries(3))
        assert [ledger.append_missing(entries(5)), ledger.append_missing(entries(5))] == [2, 0]
        assert ledger.append_missing([entry(6), entry(6)]) == 2
        assert ledger.append_missing([]) == 0
        assert written(ledger) == [*entries(5), entry(6), entry(6)]

    def test_of_many_that_write_the_same_each_entry_is_written_once(self, open_one: Open) -> None:
        with ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(lambda _: open_one().append_missing(entries(300)), range(8)))
        assert (sum(counts), max(counts)) == (300, 300)
        assert written(open_one()) == entries(300)

    def test_trying_whether_it_can_be_written_leaves_nothing(self, ledger: StoredLedger) -> None:
        ledger.try_writing()
        ledger.append(entries(2))
        ledger.try_writing()
        assert written(ledger) == entries(2)

    def test_a_closed_ledger_is_opened_again(self, ledger: StoredLedger) -> None:
        ledger.close()
        ledger.append([entry(1)])
        ledger.close()
        ledger.close()
        ledger.append([entry(2)])
        assert written(ledger) == entries(2)

    def test_threads_write_in_turn_and_each_append_stays_together(self, ledger: StoredLedger) -> None:
        def run(thread: int) -> None:
            for round_ in range(20):
                ledger.append(entries(3, 1000 * thread + 10 * round_))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(run, range(8)))
        numbers = [one.version for one in written(ledger)]
        assert len(numbers) == len(set(numbers)) == 480
        assert all(numbers[at + 1 : at + 3] == [numbers[at] + 1, numbers[at] + 2] for at in range(0, 480, 3))
        by_thread = [[number for number in numbers if number // 1000 == thread] for thread in range(8)]
        assert all(mine == sorted(mine) for mine in by_thread)

    def test_processes_write_without_gaps_and_doubles_and_proofs_hold(
        self, ledger: StoredLedger, address: str, key: Key
    ) -> None:
        writers = [writer(address, 10_000 * number, 150, 3) for number in range(4)]
        ledger.append(entries(30, 900_000))
        assert [one.wait(120) for one in writers] == [0] * 4
        for one in writers:
            one.communicate()
        found = written(ledger)
        numbers = [one.version for one in found]
        assert len(numbers) == len(set(numbers)) == 630
        assert sign_checkpoint(ledger, key, Memory(), Clock(), verify_ed25519)
        for sequence in range(1, 631, 17):
            proof = prove_entry(ledger, sequence)
            assert check_proof(proof, [key.public()], verify_ed25519) == Numbered(sequence, found[sequence - 1])
        assert verify_ledger(ledger, [key.public()], verify_ed25519).vouched == 630

    def test_a_killed_process_leaves_whole_appends_and_every_one_that_returned(
        self, ledger: StoredLedger, address: str
    ) -> None:
        for life in range(3):
            with writer(address, 1_000 * life + 1, 990, 5) as process:
                assert process.stdout
                said = [process.stdout.readline() for _ in range(10 + life)]
                process.kill()
                said += process.stdout.readlines()
            acknowledged = int([line for line in said if line.endswith("\n")][-1])
            numbers = [one.version for one in written(ledger) if one.version // 1_000 == life]
            assert numbers == list(range(1_000 * life + 1, numbers[-1] + 1))
            assert len(numbers) % 5 == 0
            assert numbers[-1] >= acknowledged
        ledger.append([entry(999_999)])
        assert written(ledger)[-1] == entry(999_999)

    def test_a_child_process_does_not_use_its_parents_connection(self, ledger: StoredLedger, address: str) -> None:
        program = """
import os, sys
from keyturn.providers.ledger.address import open_ledger
from tests.ledger.entries import entries
ledger = open_ledger(sys.argv[1])
ledger.append(entries(1, 1))
child = os.fork()
ledger.append(entries(50, 2 if child else 100))
if child:
    assert os.waitpid(child, 0)[1] == 0
    ledger.append(entries(1, 200))
os._exit(0)
"""
        subprocess.run([sys.executable, "-c", program, address], cwd=ROOT, check=True, timeout=60, env=os.environ)
        assert {one.version for one in written(ledger)} == {1, *range(2, 52), *range(100, 150), 200}

    def test_checkpoints_and_tiles_are_kept_in_order(self, ledger: StoredLedger, open_one: Open) -> None:
        ledger.append(entries(3))
        ledger.keep("first", 2, {(0, 0): b"a" * 64}, after="")
        ledger.keep("second", 3, {(0, 0): b"b" * 96, (1, 0): b"c" * 32}, after="first")
        again = open_one()
        assert list(again.checkpoints()) == ["first", "second"]
        assert again.newest() == "second"
        assert [again.tile(0, 0), again.tile(1, 0), again.tile(0, 1)] == [b"b" * 96, b"c" * 32, b""]

    def test_a_checkpoint_after_another_one_than_the_newest_is_refused_whole(self, ledger: StoredLedger) -> None:
        ledger.keep("first", 2, {}, after="")
        for after in ("", "other"):
            with pytest.raises(Conflict):
                ledger.keep("second", 3, {(0, 0): b"x" * 32}, after=after)
        assert list(ledger.checkpoints()) == ["first"]
        assert ledger.tile(0, 0) == b""
        ledger.keep("second", 3, {}, after="first")

    def test_the_ledger_grows_while_it_is_read(self, ledger: StoredLedger) -> None:
        ledger.append(entries(6_000))
        reading = ledger.leaves()
        next(reading)
        ledger.append(entries(2, 6_001))
        assert sum(1 for _ in reading) == 5_999

    def test_a_checkpoint_vouches_and_grows(self, ledger: StoredLedger, key: Key) -> None:
        kept, keys = Memory(), [key.public()]
        ledger.append(entries(300))
        first = sign_checkpoint(ledger, key, kept, Clock(), verify_ed25519)
        ledger.append(entries(300, 301))
        with pytest.raises(NotFound, match="no checkpoint is made over it"):
            prove_entry(ledger, 301)
        second = sign_checkpoint(ledger, key, kept, Clock(), verify_ed25519, thorough=False)
        assert first
        assert second
        growth = prove_growth(ledger, first.note, second.note)
        assert check_growth(growth, keys, verify_ed25519) == (first, second)
        report = verify_ledger(ledger, keys, verify_ed25519, elsewhere=[kept.note])
        assert (report.whole, report.entries, report.vouched, report.newest) == (True, 600, 600, second)
        assert ledger.origin == ORIGIN


@pytest.fixture
def key() -> Key:
    """What signs checkpoints."""
    return Key()
