"""Reading the hub's audit file while it is rotated, compressed, copied or cut."""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.access_log.sources import line_source
from keyturn.access_log.sources.hub_file import HubFile
from keyturn.access_log.sources.log_text import survey
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access import LOGIN
from keyturn.core.ports.access_source import AccessSource, SourceOpening, SourceRecord
from keyturn.core.text.audit_lines import AuditMount
from tests.access_log.hub import Hub, read
from tests.contracts.access_source import SourceContract, drained, paths, records

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class AuditLog:
    """An audit file that a test writes, rotates and damages."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "audit.log"
        self.count = 0
        self._sources: list[AccessSource] = []

    def open(self) -> AccessSource:
        opening = SourceOpening("node-1", 0.1, AuditMount("secret"), str(self.path.parent))
        self._sources.append(HubFile(opening, log_file=str(self.path)))
        return self._sources[-1]

    def close(self) -> None:
        for source in self._sources:
            source.close()

    def line(self, path: str, **changes: Any) -> bytes:
        self.count += 1
        data = {
            "time": (NOON + timedelta(seconds=self.count)).isoformat().replace("+00:00", "Z"),
            "type": "response",
            "auth": {
                "display_name": "approle",
                "metadata": {"role_name": "trainer"},
                "accessor": "hmac-sha256:aabbccdd",
            },
            "request": {"id": f"{self.count:032x}", "operation": "read", "path": f"secret/data/{path}"}
            | {"remote_address": "10.0.0.9"},
            "response": {"data": {"data": {"password": "hmac-sha256:ee"}, "metadata": {"version": 3}}},
        }
        return json.dumps(data | changes, separators=(",", ":")).encode() + b"\n"

    def write(self, text: bytes) -> None:
        with self.path.open("ab") as out:
            out.write(text)

    def add(self, path: str) -> None:
        self.write(self.line(path))

    def spoil(self, text: str) -> None:
        self.write(f'{{"type":"response","request":{{"path":"secret/data/{text}"}},'.encode() + b"}\n")

    def rename(self) -> None:
        """As logrotate does: each a number further, the newest of them is 1."""
        for number in range(9, 0, -1):
            for packing in ("", ".gz"):
                old = self.path.with_name(f"audit.log.{number}{packing}")
                if old.exists():
                    old.rename(self.path.with_name(f"audit.log.{number + 1}{packing}"))
        self.path.rename(self.path.with_name("audit.log.1"))

    def pack(self, number: int = 1) -> None:
        plain = self.path.with_name(f"audit.log.{number}")
        packed = plain.with_name(f"{plain.name}.gz")
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        os.utime(packed, (plain.stat().st_mtime,) * 2)
        plain.unlink()

    def copy_and_truncate(self) -> None:
        shutil.copy(self.path, self.path.with_name("audit.log.1"))
        os.truncate(self.path, 0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    made = AuditLog(tmp_path)
    yield made
    made.close()


class TestHubFile(SourceContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[AuditLog]:
        made = AuditLog(tmp_path)
        yield made
        made.close()


class Reader:
    """Reads on as a process does that may die between any two of its steps: everything is read by a fresh one."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._kept: AccessSource | None = None
        self.cursor: str | None = None
        self.gaps: list[str] = []
        self.malformed = 0

    def read(self, *, fresh: bool = True, limit: int = 100) -> list[str]:
        source = self._log.open() if fresh or self._kept is None else self._kept
        if not fresh:
            self._kept = source
        taken: list[SourceRecord] = []
        for batch in drained(source, self.cursor, limit):
            taken += batch.records
            self.cursor = batch.cursor
            self.gaps += batch.gaps
            self.malformed += len(batch.malformed)
        if fresh:
            source.close()
        return paths(taken)


def twice(log: AuditLog) -> None:
    log.rename()
    log.add("d")
    log.rename()


def packed(log: AuditLog) -> None:
    log.rename()
    log.pack()


def twice_packed(log: AuditLog) -> None:
    twice(log)
    log.pack(2)
    log.pack(1)


WAYS: dict[str, Callable[[AuditLog], None]] = {
    "renamed": AuditLog.rename,
    "copied and truncated": AuditLog.copy_and_truncate,
    "renamed and packed": packed,
    "renamed twice": twice,
    "renamed twice and packed": twice_packed,
}


@pytest.mark.parametrize("follows", [True, False], ids=["another takes its name", "its name is nobody's"])
def test_a_file_that_is_renamed_between_a_look_and_its_opening_is_read_on(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    reader = Reader(log)
    log.add("a")
    assert reader.read() == ["a"]
    log.add("b")
    looks = iter([True])

    def renamed_behind_it(*arguments: Any) -> Any:
        seen = survey(*arguments)
        if next(looks, False):
            log.rename()
            if follows:
                log.add("c")
        return seen

    monkeypatch.setattr(f"{line_source.__name__}.survey", renamed_behind_it)
    assert reader.read() == (["b", "c"] if follows else ["b"])
    assert reader.gaps == []


@pytest.mark.parametrize("fresh", [True, False], ids=["by fresh processes", "by one process"])
@pytest.mark.parametrize("way", WAYS)
def test_rotated_while_it_is_read(log: AuditLog, way: str, fresh: bool) -> None:
    reader = Reader(log)
    log.add("a")
    log.add("b")
    assert reader.read(fresh=fresh) == ["a", "b"]
    log.add("c")
    WAYS[way](log)
    taken = reader.read(fresh=fresh)
    log.add("e")
    taken += reader.read(fresh=fresh)
    assert taken == ["c", *(["d"] if "twice" in way else []), "e"]
    assert (reader.gaps, reader.malformed) == ([], 0)
    log.add("f")
    assert reader.read() == ["f"]


def test_the_hub_writes_on_to_the_renamed_file_until_it_opens_the_new_one(log: AuditLog) -> None:
    reader = Reader(log)
    log.add("a")
    reader.read()
    with log.path.open("ab") as opened:
        log.rename()
        log.path.touch()
        opened.write(log.line("b"))
        opened.flush()
        assert reader.read() == ["b"]
        opened.write(log.line("c"))
    log.add("d")
    assert reader.read() == ["c", "d"]
    assert reader.gaps == []


def test_a_line_is_taken_once_its_end_is_there(log: AuditLog) -> None:
    reader = Reader(log)
    log.add("a")
    whole = log.line("b")
    log.write(whole[:200])
    assert reader.read() == ["a"]
    log.write(whole[200:-1])
    assert reader.read() == []
    log.write(b"\n")
    assert reader.read() == ["b"]
    assert reader.malformed == 0


def test_what_a_hub_that_died_left_half_written_is_told(log: AuditLog) -> None:
    reader = Reader(log)
    log.add("a")
    log.write(log.line("b")[:200])
    reader.read()
    log.rename()
    log.add("c")
    assert reader.read() == ["c"]
    assert reader.malformed == 1


def test_a_file_that_was_emptied_without_a_copy_is_a_gap(log: AuditLog) -> None:
    reader = Reader(log)
    log.add("a")
    reader.read()
    log.add("lost")
    os.truncate(log.path, 0)
    assert reader.read() == []
    log.add("b")
    assert reader.read() == ["b"]
    assert reader.gaps == [
        "audit.log, which was read up to line 1, is not there any more: what was written to it after that is not known"
    ]


def test_a_file_that_was_moved_away_is_a_gap_for_who_comes_later_and_none_for_who_had_it_open(log: AuditLog) -> None:
    late, there = Reader(log), Reader(log)
    log.add("a")
    late.read()
    there.read(fresh=False)
    log.add("b")
    log.path.rename(log.path.parent / "moved")
    log.add("c")
    assert there.read(fresh=False) == ["b", "c"]
    assert there.gaps == []
    assert late.read() == ["c"]
    assert len(late.gaps) == 1


@pytest.mark.parametrize("fresh", [True, False], ids=["by fresh processes", "by one process"])
def test_a_file_that_was_put_back_as_it_was_is_read_on_from_where_it_still_is_the_same(
    log: AuditLog, fresh: bool
) -> None:
    reader = Reader(log)
    log.add("a")
    reader.read(fresh=fresh)
    backup = log.path.read_bytes()
    for path in ("b", "c"):
        log.add(path)
        reader.read(fresh=fresh)
    log.path.with_name("restored").write_bytes(backup)
    log.path.with_name("restored").rename(log.path)
    log.add("d")
    assert reader.read(fresh=fresh) == ["d"]
    assert reader.gaps == [
        "audit.log is not as it was read up to line 3: it was cut, restored or rewritten, and is read again after "
        "line 1"
    ]


@pytest.mark.attack
def test_lines_that_were_taken_out_are_a_gap_though_the_file_has_grown_since(log: AuditLog) -> None:
    reader = Reader(log)
    for path in ("a", "b", "c"):
        log.add(path)
        reader.read()
    first, _, third = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(first + third)
    log.add("d")
    log.add("e")
    assert reader.read() == ["c", "d", "e"]
    assert "read again after line 1" in reader.gaps[0]


def test_a_packed_file_that_breaks_off_is_a_gap(log: AuditLog) -> None:
    lines = b"".join(log.line("a", note=os.urandom(500).hex()) for _ in range(50))
    (log.path.parent / "audit.log.1.gz").write_bytes(gzip.compress(lines)[:-20_000])
    os.utime(log.path.parent / "audit.log.1.gz", (NOON.timestamp(),) * 2)
    log.add("b")
    reader = Reader(log)
    taken = reader.read(limit=7)
    assert taken[-1] == "b"
    assert 1 < len(taken) < 51
    assert reader.gaps == ["audit.log.1.gz could not be read to its end: it is broken"]


def test_a_packed_file_that_breaks_off_before_what_was_read_of_it_holds_nothing_up(log: AuditLog) -> None:
    reader = Reader(log)
    for _ in range(50):
        log.write(log.line("a", note=os.urandom(500).hex()))
    assert len(reader.read()) == 50
    log.rename()
    log.pack()
    packed_file = log.path.with_name("audit.log.1.gz")
    packed_file.write_bytes(packed_file.read_bytes()[:-20_000])
    os.utime(packed_file, (NOON.timestamp(),) * 2)
    log.add("b")
    taken = reader.read()
    assert (taken[-1], set(taken[:-1])) == ("b", {"a"})
    assert len(reader.gaps) == 2
    assert "read again after line 0" in reader.gaps[0]
    assert reader.gaps[1] == "audit.log.1.gz could not be read to its end: it is broken"


def test_files_that_can_not_be_read_are_told_once(log: AuditLog) -> None:
    (log.path.parent / "audit.log.2.zst").write_bytes(b"(packed)")
    log.add("a")
    reader = Reader(log)
    assert reader.read() == ["a"]
    assert reader.read() == []
    assert reader.gaps == ["audit.log.2.zst could not be read: it is packed as zst, which is not read here"]


def test_a_file_with_an_absurd_first_line_is_read_all_the_same(log: AuditLog) -> None:
    reader = Reader(log)
    log.add("a")
    log.rename()
    for time in ("2999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "yesterday"):
        log.write(log.line("b", time=time))
        log.add("c")
        log.rename()
    log.add("d")
    taken = reader.read()
    assert sorted(taken) == ["a", "b", "b", "c", "c", "c", "d"]
    assert reader.malformed == 1
    assert reader.read() == []


def test_the_digest_is_of_all_lines(log: AuditLog) -> None:
    log.add("a")
    log.write(b'{"type":"request"}\n\n')
    log.add("b")
    (batch,) = drained(log.open(), None)
    assert batch.digest == hashlib.sha256(log.path.read_bytes()).digest()
    assert (batch.lines, batch.first, batch.last) == (4, "audit.log:1", "audit.log:4")
    assert [record.position for record in batch.records] == ["audit.log:1", "audit.log:4"]
    assert batch.records[1].digest == hashlib.sha256(log.path.read_bytes().splitlines()[3]).digest()


def test_chunks_may_end_anywhere(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        log.add(f"n{number}")
    log.rename()
    log.pack()
    for number in range(20, 30):
        log.add(f"n{number}")
    for size in (300, 1000, 4321):
        monkeypatch.setattr(line_source, "CHUNK", size)
        assert paths(records(log.open(), limit=7)) == [f"n{number}" for number in range(30)]


def test_a_line_without_end_is_set_apart_in_pieces(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_source, "CHUNK", 1000)
    monkeypatch.setattr(line_source, "LONGEST", 5000)
    log.add("a")
    log.write(b"{" + b"x" * 12_000 + b"}\n")
    log.add("b")
    reader = Reader(log)
    assert reader.read() == ["a", "b"]
    assert reader.malformed == 3


def test_what_was_wrapped_before_the_cursor_is_told_where_it_is_unwrapped(log: AuditLog) -> None:
    reader = Reader(log)
    log.write(log.line("ml/key", response={"wrap_info": {"token": "hmac-sha256:11", "ttl": 60}}))
    assert reader.read() == ["ml/key"]
    assert "hmac-sha256:11" not in str(reader.cursor)
    unwrap = {"operation": "update", "path": "sys/wrapping/unwrap", "client_token": "hmac-sha256:11"}
    log.rename()
    log.write(log.line("", request=unwrap))
    assert reader.read() == ["ml/key"]


def test_more_wrapped_reads_than_can_be_carried_on_are_told_to_be_forgotten(log: AuditLog) -> None:
    reader = Reader(log)
    for number in range(100):
        log.write(log.line("k", response={"wrap_info": {"token": f"hmac-sha256:{number}", "ttl": 3600}}))
    reader.read()
    (gap,) = reader.gaps
    assert gap.endswith("wrapped reads were dropped: who unwraps them is unknown")
    assert len(str(reader.cursor)) < 8192
    unwrap = {"operation": "update", "path": "sys/wrapping/unwrap", "client_token": "hmac-sha256:99"}
    log.write(log.line("", request=unwrap))
    assert reader.read() == ["k"]


def test_without_a_file_it_says_what_is_missing(log: AuditLog) -> None:
    with pytest.raises(Unavailable, match=r"audit\.log.*no such file"):
        log.open().read(None, 100)
    log.path.mkdir()
    with pytest.raises(Unavailable, match="directory"):
        log.open().read(None, 100)


def test_an_empty_file_is_waited_for(log: AuditLog) -> None:
    log.path.touch()
    reader = Reader(log)
    assert reader.read() == []
    log.add("a")
    assert reader.read() == ["a"]


def test_a_real_hub_is_read_as_it_goes(hub: Hub, tmp_path: Path) -> None:
    opening = SourceOpening("hub", 0.1, AuditMount("secret"), str(tmp_path))
    source = HubFile(opening, log_file=str(hub.server.audit_log))
    *_, before = drained(source, None)
    trainer = hub.approle("trainer")
    for _ in range(3):
        read(trainer)
    taken = records(source, before.cursor, limit=2)
    assert [(record.access.principal, record.access.path) for record in taken if record.access.action != LOGIN] == [
        ("approle trainer", "ml/database")
    ] * 3
    assert [record.access.action for record in taken].count(LOGIN) == 1
    source.close()
