"""Witnesses detect eight forgeries of the ledger by an insider who can sign."""

import base64
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.cli.ledger.witness import demand
from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.freshness import find_stale
from keyturn.ledger.verify import Verification, verify_ledger
from keyturn.ledger.witness.requests import Witnesses
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteCopy, SqliteLedger
from tests.ledger.entries import entries
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.wall.witnesses import Running, witness

pytestmark = pytest.mark.sampled(3, of="file")

FIRST, SECOND = 20, 30
EARLY = timedelta(minutes=10)


@dataclass
class Ledger:
    """A ledger under two checkpoints that both witnesses have cosigned, and what it looked like after the first."""

    file: Path
    earlier: Path
    key: Key
    witnesses: list[Running]
    copy: str
    earlier_copy: str

    def sign(self, kept: Memory | None = None, key: Key | None = None) -> None:
        """A checkpoint as the notary makes it, where the witnesses are asked."""
        with closing(SqliteLedger(self.file, ORIGIN, patience=5)) as ledger:
            asked = Witnesses([running.port() for running in self.witnesses], verify_ed25519)
            clock = lambda: datetime.now(UTC)  # noqa: E731
            sign_checkpoint(ledger, key or self.key, kept or Memory(), clock, verify_ed25519, witnesses=asked)

    def tamper(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def signed_anew(self, key: Key | None = None) -> None:
        """All that was signed is signed once more, over what stands there now, and the hub's copy with it."""
        self.tamper("DELETE FROM checkpoints", "DELETE FROM tiles")
        kept = Memory()
        self.sign(kept, key)
        self.copy = kept.note

    def put_back(self) -> None:
        """The file as it was after the first checkpoint."""
        for file in self.file.parent.glob(f"{self.file.name}*"):
            file.unlink()
        shutil.copy(self.earlier, self.file)

    def verified(
        self, *, witnesses: int = 0, fresh: timedelta | None = None, now: timedelta = timedelta(0)
    ) -> Verification:
        """What `keyturn ledger verify --witnesses N --fresh AGE` finds."""
        at = datetime.now(UTC) + now
        with SqliteCopy(self.file) as source:
            report = verify_ledger(source, [self.key.public()], verify_ed25519, elsewhere=[self.copy])
            if witnesses:
                keys = [str(running.key) for running in self.witnesses]
                report = demand(report, witnesses, keys, at, ask=fresh is None)
            stale = find_stale(source, report, at, fresh) if fresh else ()
            return Verification(
                report.entries,
                report.vouched,
                report.checkpoints,
                report.newest,
                (*report.problems, *stale),
                report.cosigned,
                report.cosigned_at,
            )


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    key, kept = Key(), Memory()
    with witness(tmp_path / "w1", "w1", key.public()) as one, witness(tmp_path / "w2", "w2", key.public()) as two:
        monkeypatch.setenv("KEYTURN_LEDGER_WITNESSES", f"{one.key} {one.url}, {two.key} {two.url}")
        made = Ledger(tmp_path / "ledger.db", tmp_path / "earlier.db", key, [one, two], "", "")
        for first, size in ((1, FIRST), (FIRST + 1, SECOND)):
            with closing(SqliteLedger(made.file, ORIGIN, patience=5)) as opened:
                opened.append(entries(size - first + 1, first))
            made.sign(kept)
            if size == FIRST:
                made.earlier_copy = kept.note
                with closing(sqlite3.connect(made.file)) as source, closing(sqlite3.connect(made.earlier)) as target:
                    source.backup(target)
        made.copy = kept.note
        yield made


EDIT = "UPDATE entries SET entry = replace(entry, 'on-call', 'nobody') WHERE sequence = 7"


def edit(ledger: Ledger) -> None:
    ledger.tamper(EDIT)


def take_out(ledger: Ledger) -> None:
    ledger.tamper(
        "DELETE FROM entries WHERE sequence = 7", "UPDATE entries SET sequence = sequence - 1 WHERE sequence > 7"
    )


def put_in(ledger: Ledger) -> None:
    ledger.tamper(
        "UPDATE entries SET sequence = -sequence - 1 WHERE sequence > 7",
        "UPDATE entries SET sequence = -sequence WHERE sequence < 0",
        "INSERT INTO entries SELECT 8, entry FROM entries WHERE sequence = 3",
    )


def exchange(ledger: Ledger) -> None:
    ledger.tamper(
        "UPDATE entries SET sequence = 0 WHERE sequence = 7",
        "UPDATE entries SET sequence = 7 WHERE sequence = 8",
        "UPDATE entries SET sequence = 8 WHERE sequence = 0",
    )


def cut_off(ledger: Ledger) -> None:
    """The end, with the checkpoint over it; the hub has its copy still."""
    ledger.put_back()


def sign_with_another_key(ledger: Ledger) -> None:
    edit(ledger)
    ledger.signed_anew(Key())


def sign_anew(ledger: Ledger) -> None:
    """With the ledger's own key: what a stolen login of the notary could do."""
    edit(ledger)
    ledger.signed_anew()


def put_all_back(ledger: Ledger) -> None:
    """The ledger as it was, and the hub's copy of its checkpoint too."""
    ledger.put_back()
    ledger.copy = ledger.earlier_copy


Forgery = Callable[[Ledger], None]
FORGERIES = [edit, take_out, put_in, exchange, cut_off, sign_with_another_key, sign_anew, put_all_back]
UNSEEN = [sign_anew, put_all_back]
"""Those that the ledger's key and the hub's copy can't tell."""


def test_an_untouched_ledger_verifies(ledger: Ledger) -> None:
    report = ledger.verified(witnesses=2)
    assert (report.problems, report.vouched, report.cosigned) == ((), SECOND, 2)
    assert ledger.verified(witnesses=2, fresh=EARLY).whole


@pytest.mark.parametrize("forge", FORGERIES)
def test_each_of_eight_forgeries_is_found(ledger: Ledger, forge: Forgery) -> None:
    forge(ledger)
    assert ledger.verified().whole == (forge in UNSEEN), "what the key and the hub's copy tell"
    assert not ledger.verified(witnesses=2).whole
    assert not ledger.verified(witnesses=1).whole


@pytest.mark.parametrize("forge", FORGERIES)
def test_old_forgeries_are_found_without_a_reachable_witness(ledger: Ledger, forge: Forgery) -> None:
    """By the cosignatures in the ledger alone, a quarter of an hour later."""
    forge(ledger)
    assert not ledger.verified(witnesses=2, fresh=EARLY, now=timedelta(minutes=15)).whole


def test_verifying_a_re_signed_history_reports_what_is_missing(ledger: Ledger) -> None:
    sign_anew(ledger)
    assert "has 0 valid cosignatures by the witnesses that are believed, and 2 are wanted" in wrong(ledger)


def test_a_rollback_is_detected_by_a_witness(ledger: Ledger) -> None:
    put_all_back(ledger)
    assert f"the witness w1 has cosigned {SECOND} entries" in wrong(ledger)


def test_true_cosignatures_don_t_carry_over_to_another_history(ledger: Ledger) -> None:
    """Whoever signs anew leaves the witnesses' lines as they were, or makes some up."""
    lines = "".join(line for line in ledger.copy.splitlines(True) if line.startswith("— w"))
    sign_anew(ledger)
    made_up = "".join(f"— w{n} {base64.b64encode(os.urandom(76)).decode()}\n" for n in (1, 2))
    ledger.copy += lines + made_up
    assert "has 0 valid cosignatures" in wrong(ledger)


def test_one_witness_does_not_satisfy_two_required(ledger: Ledger) -> None:
    (ledger.witnesses[1].directory / "ledgers").write_text("")
    with closing(SqliteLedger(ledger.file, ORIGIN, patience=5)) as opened:
        opened.append(entries(3, SECOND + 1))
    kept = Memory()
    kept.note, kept.version = ledger.copy, 1
    ledger.sign(kept)
    ledger.copy = kept.note
    assert read_checkpoint(kept.note).size == SECOND + 3
    assert ledger.verified(witnesses=1).whole
    assert "has 1 valid cosignatures" in wrong(ledger)


def test_an_old_end_without_a_cosignature_is_reported(ledger: Ledger) -> None:
    with closing(SqliteLedger(ledger.file, ORIGIN, patience=5)) as opened:
        opened.append(entries(1, SECOND + 1))
    report = ledger.verified(fresh=EARLY)
    assert str(report.problem).startswith(f"entry {SECOND + 1} of 2026-03-01 03:12:00 UTC is covered by no checkpoint")
    assert report.problem
    assert (report.problem.first, report.problem.last) == (SECOND + 1, SECOND + 1)
    assert ledger.verified().whole, "without --fresh nothing says how old it may be"


def test_a_ledger_that_is_no_longer_signed_is_not_fresh(ledger: Ledger) -> None:
    report = ledger.verified(fresh=EARLY, now=timedelta(minutes=15))
    assert "was made 15 min ago, and it should be 10 min at most" in str(report.problem)
    assert "was cosigned 15 min ago" in str(
        ledger.verified(witnesses=2, fresh=EARLY, now=timedelta(minutes=15)).problems
    )
    future = ledger.verified(fresh=EARLY, now=-timedelta(hours=1))
    assert "in the future" in str(future.problem)


def test_without_a_checkpoint_no_entry_is_fresh(tmp_path: Path, ledger: Ledger) -> None:
    ledger.tamper("DELETE FROM checkpoints", "DELETE FROM tiles")
    ledger.copy = ""
    with SqliteCopy(ledger.file) as source:
        report = verify_ledger(source, [ledger.key.public()], verify_ed25519)
        stale = [str(problem) for problem in find_stale(source, report, datetime.now(UTC), EARLY)]
    assert stale[0] == "no checkpoint vouches for any entry"
    assert stale[1].startswith("entry 1 of 2026-03-01")


def wrong(ledger: Ledger) -> str:
    """What is wrong, where both witnesses are wanted."""
    return "; ".join(map(str, ledger.verified(witnesses=2).problems))
