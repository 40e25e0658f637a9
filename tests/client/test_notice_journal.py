"""The journal of notices: what a line says, what spoils it, and what is dropped when it grows."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.client.private_directory import PrivateDirectory
from keyturn.client.webhooks.notice_journal import FILE, HOUR, LINES, NoticeJournal
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from tests.support.served import MADE

NOW = 1_800_000_000.0


@pytest.fixture
def journal(tmp_path: Path) -> NoticeJournal:
    return NoticeJournal(PrivateDirectory(tmp_path / "offline"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "offline" / FILE


def notice(path: str, version: int = 1) -> Notice:
    return Notice(SECRET_REVOKED, path, version, MADE + timedelta(seconds=version), replaced=False)


def test_what_was_noted_is_read_back(journal: NoticeJournal) -> None:
    number = journal.note(notice("a"), NOW + 600, NOW)
    (barrier,) = journal.read().after(0)
    assert (barrier.number, barrier.notice, barrier.at, barrier.until) == (number, notice("a"), NOW, NOW + 600)
    assert list(journal.read().after(number)) == []


def test_a_notice_that_comes_again_or_late_is_not_noted_again(journal: NoticeJournal) -> None:
    number = journal.note(notice("a", 5), NOW, NOW)
    assert journal.note(notice("a", 5), NOW, NOW) == number
    assert journal.note(notice("a", 4), NOW, NOW) == number
    assert journal.note(notice("a", 6), NOW, NOW) > number
    assert journal.note(replace(notice("a", 1), timestamp=MADE + timedelta(days=1)), NOW, NOW) > number + 1


def test_a_line_that_was_torn_is_written_over(journal: NoticeJournal, file: Path) -> None:
    first = journal.note(notice("a"), NOW, NOW)
    with open(file, "ab") as opened:
        opened.write(b'12345678 {"number"')
    assert journal.read().believed
    assert journal.note(notice("b"), NOW, NOW) == first + 1
    assert [barrier.notice.secret_path for barrier in journal.read().barriers] == ["a", "b"]


def test_a_damaged_journal_vouches_for_nothing_and_its_notices_stay_as_far_as_they_can_be_read(
    journal: NoticeJournal, file: Path
) -> None:
    for path in ("a", "b", "c"):
        journal.note(notice(path), NOW, NOW)
    name = journal.read().name
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"b"', b'"x"')
    file.write_bytes(b"".join(lines))
    assert not journal.read().believed
    journal.note(notice("d"), NOW, NOW)
    read = journal.read()
    assert read.believed
    assert read.name != name
    assert [barrier.notice.secret_path for barrier in read.barriers] == ["a", "c", "d"]


def test_it_stays_short_and_keeps_what_is_needed(journal: NoticeJournal, file: Path) -> None:
    insisted = journal.note(notice("insisted"), NOW + 10 * HOUR, NOW)
    known = journal.note(notice("known"), NOW, NOW)
    journal.sealed(1, known, NOW)
    journal.note(notice("unknown", 1), NOW, NOW)
    unknown = journal.note(notice("unknown", 2), NOW, NOW)
    late = NOW + HOUR + 1
    recent = journal.note(notice("recent"), late, late)
    for _ in range(LINES):
        journal.mark(late)
    read = journal.read()
    assert read.lines < LINES
    assert [barrier.number for barrier in read.barriers] == [insisted, unknown, recent]
    assert (read.first, read.sealed, read.generation, read.clock) == (unknown - 1, known, 1, late)
    assert read.believed


def test_one_that_is_larger_than_any_that_is_written_is_an_error_of_the_disk(
    journal: NoticeJournal, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.note(notice("a"), NOW, NOW)
    monkeypatch.setattr("keyturn.client.webhooks.notice_journal.LARGEST", 10)
    with pytest.raises(OSError, match="larger than any"):
        journal.read()
