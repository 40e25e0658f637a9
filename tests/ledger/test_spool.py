"""Entries that a ledger refuses wait in a file, and come into it later: in order, and each once."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Unavailable, Unrecorded
from keyturn.core.ports.ledger import Entry
from keyturn.ledger.storage import spool
from keyturn.ledger.storage.spool import PAUSE, Spooled
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.contracts.ledger import ROOT, written
from tests.ledger.entries import entries, entry
from tests.support.hooks import Hooked


class Gate:
    """Whether the ledger takes appends; some of them may be answered wrongly, or only some may come through."""

    def __init__(self) -> None:
        self.shut = False
        self.passes = 0
        self.tried = 0

    def __call__(self, *_: object, **__: object) -> None:
        self.tried += 1
        if self.shut and self.passes <= 0:
            raise Unrecorded("write", "the ledger", "the disk is full", "Make room on it")
        self.passes -= 1


class Time:
    """Seconds that go by when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "entries.jsonl"


@pytest.fixture
def lost() -> list[tuple[list[Entry], str]]:
    return []


@pytest.fixture
def spooled(ledger: SqliteLedger, gate: Gate, time: Time, path: Path, lost: list[tuple[list[Entry], str]]) -> Spooled:
    def tell(entries: Sequence[Entry], why: str) -> None:
        lost.append((list(entries), why))

    return Spooled(Hooked(ledger, append=gate, append_missing=gate), path, tell, monotonic=time)


def test_a_ledger_that_can_be_written_is_written(spooled: Spooled, ledger: SqliteLedger, path: Path) -> None:
    spooled.append(entries(3))
    assert written(ledger) == entries(3)
    assert not path.exists()
    assert (spooled.waiting(), spooled.drain()) == (0, 0)
    spooled.close()


def test_what_it_refuses_waits_in_a_private_file_and_goes_first_later(
    spooled: Spooled, ledger: SqliteLedger, gate: Gate, time: Time, path: Path
) -> None:
    gate.shut = True
    spooled.append(entries(2))
    spooled.append(entries(2, 3))
    assert (written(ledger), spooled.waiting()) == ([], 4)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    gate.shut = False
    time.now += PAUSE
    spooled.append(entries(2, 5))
    assert written(ledger) == entries(6)
    assert (spooled.waiting(), path.read_bytes()) == (0, b"")


def test_a_ledger_that_refused_is_not_tried_for_a_while(spooled: Spooled, gate: Gate, time: Time) -> None:
    gate.shut = True
    for number in range(1, 6):
        spooled.append([entry(number)])
    assert gate.tried == 1
    time.now += PAUSE
    spooled.append([entry(6)])
    assert gate.tried == 2


def test_draining_by_hand_waits_for_nothing(spooled: Spooled, ledger: SqliteLedger, gate: Gate) -> None:
    gate.shut = True
    spooled.append(entries(600))
    with pytest.raises(Unrecorded, match="the disk is full"):
        spooled.drain()
    gate.shut = False
    assert spooled.drain() == 600
    assert written(ledger) == entries(600)
    assert spooled.drain() == 0


def test_another_process_takes_over_what_waits(
    spooled: Spooled, ledger: SqliteLedger, gate: Gate, path: Path, lost: list[Any]
) -> None:
    gate.shut = True
    spooled.append(entries(3))
    other = Spooled(ledger, path, lambda *told: lost.append(told))
    other.append([entry(4)])
    assert written(ledger) == entries(4)
    assert lost == []


def test_draining_that_is_interrupted_goes_on_where_it_was(
    spooled: Spooled, ledger: SqliteLedger, gate: Gate, time: Time
) -> None:
    gate.shut = True
    spooled.append(entries(600))
    gate.passes = 2
    with pytest.raises(Unrecorded):
        spooled.drain()
    assert len(written(ledger)) == 512
    spooled.append(entries(5, 601))
    ledger.append([entry(9999)])
    gate.shut = False
    assert spooled.drain() == 93
    assert written(ledger) == [*entries(512), entry(9999), *entries(93, 513)]


def test_a_crash_after_the_ledger_and_before_the_file_was_emptied_doubles_nothing(
    spooled: Spooled, ledger: SqliteLedger, gate: Gate, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.shut = True
    spooled.append([entry(1), entry(1), entry(2)])
    gate.shut = False
    with monkeypatch.context() as patch:
        patch.setattr(spool, "_empty", lambda file: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            spooled.drain()
    time.now += PAUSE
    spooled.append([entry(3)])
    assert written(ledger) == [entry(1), entry(1), entry(2), entry(3)]


@pytest.mark.parametrize("torn", [b'{"time":"2026-03-01T03', b"{", b"\xff\xfe", b'{"appending_after":'])
def test_a_line_that_a_crash_has_torn_takes_nothing_else_with_it(
    spooled: Spooled, ledger: SqliteLedger, gate: Gate, path: Path, lost: list[tuple[list[Entry], str]], torn: bytes
) -> None:
    gate.shut = True
    spooled.append([entry(1)])
    with path.open("ab") as file:
        file.write(torn)
    spooled.append([entry(2)])
    gate.shut = False
    assert spooled.drain() == 2
    assert written(ledger) == entries(2)
    assert len(lost) == 1
    assert lost[0][0] == []
    assert "1 lines of the spool" in lost[0][1]


def test_a_torn_last_line_is_not_counted(spooled: Spooled, gate: Gate, path: Path, ledger: SqliteLedger) -> None:
    gate.shut = True
    spooled.append(entries(2))
    path.write_bytes(path.read_bytes()[:-10])
    gate.shut = False
    assert spooled.drain() == 1
    assert written(ledger) == [entry(1)]


def test_texts_of_all_sorts_come_through_the_file(spooled: Spooled, ledger: SqliteLedger, gate: Gate) -> None:
    given = [entry(number, text) for number, text in enumerate(['"\\', "\n\r\x00\x85\u2028", "漢字 🔑", "{}"], 1)]
    gate.shut = True
    spooled.append(given)
    gate.shut = False
    spooled.drain()
    assert written(ledger) == given


def test_where_neither_can_be_written_it_says_so_and_goes_on(
    spooled: Spooled, gate: Gate, path: Path, lost: list[tuple[list[Entry], str]]
) -> None:
    gate.shut = True
    path.parent.write_text("a file where the directory should be")
    spooled.append(entries(2))
    ((what, why),) = lost
    assert what == entries(2)
    assert "write the ledger: the disk is full" in why
    assert f"The spool {path} can't be written either: " in why


def test_an_entry_that_has_no_form_is_lost_aloud(spooled: Spooled, lost: list[tuple[list[Entry], str]]) -> None:
    naive = Entry(entry().time.replace(tzinfo=None), "me", "do", entry().outcome)
    spooled.append([naive])
    assert lost == [([naive], "write an entry: its time has no zone. Give it one, such as UTC")]


def test_a_full_disk_leaves_no_half_of_what_was_to_be_spooled(
    spooled: Spooled,
    ledger: SqliteLedger,
    gate: Gate,
    lost: list[tuple[list[Entry], str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate.shut = True
    spooled.append([entry(1)])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        spooled.append(entries(3, 2))
    assert "No space left on device" in lost[0][1]
    gate.shut = False
    assert spooled.drain() == 1
    assert written(ledger) == [entry(1)]


def test_a_file_that_another_process_keeps_is_not_waited_for_for_ever(
    spooled: Spooled,
    ledger: SqliteLedger,
    gate: Gate,
    path: Path,
    lost: list[tuple[list[Entry], str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spool, "PATIENCE", 0.05)
    gate.shut = True
    spooled.append([entry(1)])
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        spooled.append([entry(2)])
        with pytest.raises(Unrecorded, match="another process keeps it"):
            spooled.drain()
    assert [what for what, _ in lost] == [[entry(2)]]
    gate.shut = False
    assert spooled.drain() == 1
    assert written(ledger) == [entry(1)]


def test_a_link_in_its_place_is_not_followed(
    spooled: Spooled, gate: Gate, path: Path, lost: list[tuple[list[Entry], str]]
) -> None:
    gate.shut = True
    path.parent.mkdir()
    path.symlink_to(path.parent / "elsewhere")
    spooled.append([entry(1)])
    assert len(lost) == 1
    assert not (path.parent / "elsewhere").exists()


def test_a_ledger_that_can_t_be_read_either_keeps_the_entries_waiting(
    ledger: SqliteLedger, gate: Gate, path: Path, time: Time
) -> None:
    def unreadable(*_: object) -> None:
        raise Unavailable("read", "the ledger", "it is damaged", "Bring a copy back")

    both: Callable[..., None] = lambda *_: pytest.fail("nothing is lost")  # noqa: E731
    broken = Spooled(Hooked(ledger, append=gate, append_missing=unreadable), path, both, monotonic=time)
    gate.shut = True
    broken.append([entry(1)])
    gate.shut = False
    time.now += PAUSE
    broken.append([entry(2)])
    assert broken.waiting() == 2
    assert Spooled(ledger, path, both).drain() == 2
    assert written(ledger) == entries(2)


def test_threads_and_processes_share_one_file(spooled: Spooled, ledger: SqliteLedger, gate: Gate, path: Path) -> None:
    program = """
import sys
from pathlib import Path
from keyturn.ledger.storage.spool import Spooled
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.ledger.entries import entries
ledger = SqliteLedger(Path("/dev/null/ledger.db"), "keyturn/tests", patience=1)
spooled = Spooled(ledger, Path(sys.argv[1]), lambda *told: sys.exit(str(told)))
for number in range(20):
    spooled.append(entries(2, 10_000 + 2 * number))
"""
    gate.shut = True
    with subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT) as process:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: spooled.append(entries(2, 2 * number)), range(40)))
        assert process.wait(60) == 0
    gate.shut = False
    assert spooled.drain() == 120
    assert sorted(one.version for one in written(ledger)) == [*range(80), *range(10_000, 10_040)]
