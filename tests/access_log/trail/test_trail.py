"""The access trail seals each event once, even if a process dies."""

import errno
import gzip
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from keyturn.access_log.hub_reads import HubReads
from keyturn.access_log.sources.line_source import LineSource
from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.layout import files_of
from keyturn.access_log.trail.leaves import encode_leaves
from keyturn.access_log.trail.merging import merge_trail
from keyturn.access_log.trail.parquet import read_file
from keyturn.access_log.trail.spool import open_segments
from keyturn.access_log.trail.trail import Trail
from keyturn.access_log.trail.verification.chain import segment_entries
from keyturn.access_log.trail.verification.file_comparison import compare_files
from keyturn.access_log.trail.verification.report import verify_trail
from keyturn.core.errors import Conflict, Invalid, Unavailable, Unrecorded
from keyturn.core.ports.access_source import Batch, SourceRecord
from keyturn.core.text.audit_lines import AuditMount
from keyturn.ledger.merkle import CompactRange, leaf_hashes
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.access_log.trail.conftest import OpenTrail
from tests.access_log.trail.logs import BROKEN, Cursors, TrailWorld, batch, digest, line, record


def sealed(directory: Path) -> list[SourceRecord]:
    """Every event of the source's files, in their order."""
    return [one for stored in files_of(directory, "hub") for _, records in read_file(stored) for one in records]


def everything(directory: Path) -> list[str]:
    """Where each event of the trail stood, sealed or not, in order."""
    spools = [one for segment in open_segments(directory) for one in segment.records()]
    return [one.position for one in (*sealed(directory), *spools)]


def expected(last: int) -> list[str]:
    return [f"audit.log:{number}" for number in range(1, last + 1) if number % 3]


def read_on(trail: Trail, last: int, step: int = 4) -> None:
    """What a reader does: go on from the trail's cursor to the log's end."""
    cursor = trail.cursor("hub")
    while (first := int(cursor or 1)) <= last:
        told = batch(first, min(first + step - 1, last))
        trail.append("hub", cursor, told)
        cursor = told.cursor


def test_what_was_taken_can_be_read_at_once_and_is_kept_over_a_new_start(trail: Trail, open_trail: OpenTrail) -> None:
    assert trail.cursor("hub") is None
    trail.append("hub", None, batch(1, 5))
    trail.append("hub", "6", batch(6, 8))
    directory = trail.directory
    assert everything(directory) == expected(8)
    assert open_trail().cursor("hub") == "9"


def test_a_segment_is_sealed_and_the_ledger_vouches_for_all_of_it(trail: Trail, ledger: SqliteLedger) -> None:
    trail.append("hub", None, batch(1, 5, malformed=[BROKEN], gaps=["audit.log was cut"]))
    trail.append("hub", "6", batch(6, 8))
    (head,) = trail.seal()
    tree = CompactRange()
    tree.extend(leaf_hashes(encode_leaves(sealed(trail.directory))))
    assert (head.number, head.before, head.after, head.records, head.root) == (0, None, "9", 6, tree.root())
    (entry,) = segment_entries(ledger)
    assert (entry.source, entry.root, entry.head, entry.lines) == ("hub", head.root.hex(), head.digest(), 8)
    assert (entry.first, entry.last, entry.malformed, entry.gaps) == ("audit.log:1", "audit.log:8", 1, 1)
    assert [lines.digest for lines in head.batches] == [digest([line(number) for number in numbers])
                                                        for numbers in (range(1, 6), range(6, 9))]  # fmt: skip
    assert BROKEN.problem in (trail.directory / "aside" / "hub.jsonl").read_text()
    assert trail.seal() == []


def test_events_come_back_as_they_were_whatever_they_hold(trail: Trail) -> None:
    odd = [
        record(1, agent='\x00\x1f"\\<b>\u2028\ud800', root=True, denied=True, action="login"),
        record(2, principal="", login="", source="", agent=""),
    ]
    trail.append("hub", None, Batch("2", odd, lines=2, first="a", last="b", digest=b"x" * 32))
    (head,) = trail.seal("hub")
    tree = CompactRange()
    tree.extend(leaf_hashes(encode_leaves(odd)))
    assert head.root == tree.root()
    assert encode_leaves(sealed(trail.directory)) == encode_leaves(odd)


def test_a_leaf_is_spelled_the_same_for_good() -> None:
    leaf, other = encode_leaves([record(4), record(4, action="".join(["re", "ad"]))])
    assert leaf == other
    assert leaf == (
        b'{"access":{"at":"2026-11-01T12:00:04Z","system":"hub","path":"ml/4","version":3,'
        b'"principal":"approle trainer","source":"10.0.0.1","login":"4be1","agent":"curl/8"},'
        b'"digest":"TSndqWs4RuwRXvsT5d2rV0q8uRkJDHwKkAMb/JOMaw4=","position":"audit.log:4"}'
    )


def test_two_segments_follow_on_one_another(trail: Trail, ledger: SqliteLedger, cursors: Cursors) -> None:
    read_on(trail, 10)
    trail.seal()
    read_on(trail, 20)
    trail.seal()
    first, second = segment_entries(ledger)
    assert (first.after, first.number, second.number) == (second.before, 0, 1)
    assert (cursors.states["hub"].cursor, cursors.states["hub"].segments) == ("21", 2)
    assert everything(trail.directory) == expected(20)


class Death(BaseException):
    """The process ends here."""


def durable_calls(monkeypatch: pytest.MonkeyPatch, ledger: SqliteLedger, cursors: Cursors) -> Iterator[list[int]]:
    """Let the process end at one of the calls after which something has changed: the first, the second, and so on."""
    remaining = [0]

    def dying(call: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            remaining[0] -= 1
            if remaining[0] == 0:
                raise Death
            return call(*arguments, **options)

        return counted

    for owner, name in (
        (os, "fsync"), (os, "replace"), (os, "unlink"), (Path, "rename"), (Path, "unlink"),
        (ledger, "append"), (cursors, "write"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    for number in range(1, 200):
        remaining[0] = number
        yield remaining
        if remaining[0] > 0:
            remaining[0] = 0
            return


def test_killed_at_any_boundary_nothing_is_skipped_and_nothing_twice(
    open_trail: OpenTrail, ledger: SqliteLedger, cursors: Cursors, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, deaths = 0, 0
    open_trail().cursor("hub")
    for remaining in durable_calls(monkeypatch, ledger, cursors):
        last += 8
        try:
            trail = open_trail()
            read_on(trail, last)
            trail.seal("hub")
        except Death:
            deaths += 1
        budget, remaining[0] = remaining[0], 0
        again = open_trail()
        read_on(again, last)
        assert again.cursor("hub") == str(last + 1)
        remaining[0] = budget
    assert everything(directory) == expected(last)
    again.seal("hub")
    assert deaths > 15
    entries = list(segment_entries(ledger))
    assert [entry.number for entry in entries] == list(range(len(entries)))
    assert all(entry.after == following.before for entry, following in pairwise(entries))
    assert sum(entry.records for entry in entries) == len(expected(last)) == len(sealed(directory))


def test_of_two_writers_of_one_host_the_second_goes_on_from_the_first(trail: Trail, open_trail: OpenTrail) -> None:
    other = open_trail()
    trail.append("hub", None, batch(1, 5))
    with pytest.raises(Conflict, match="another cursor"):
        other.append("hub", None, batch(1, 5))
    other.append("hub", other.cursor("hub"), batch(6, 8))
    with pytest.raises(Conflict):
        trail.append("hub", "6", batch(6, 9))
    other.seal("hub")
    trail.append("hub", trail.cursor("hub"), batch(9, 12))
    assert everything(trail.directory) == expected(12)


def test_of_two_hosts_whoever_has_lost_its_turn_is_refused(
    trail: Trail, open_trail: OpenTrail, ledger: SqliteLedger, tmp_path: Path
) -> None:
    trail.append("hub", None, batch(1, 5))
    other = open_trail(tmp_path / "other")
    other.append("hub", None, batch(1, 3))
    other.seal()
    with pytest.raises(Conflict):
        trail.seal()
    assert trail.cursor("hub") == "4"
    read_on(trail, 8)
    (head,) = trail.seal()
    assert head.before == "4"
    assert head.gaps
    assert "were read elsewhere, too" in head.gaps[0]
    assert [entry.number for entry in segment_entries(ledger)] == [0, 1]


@pytest.mark.attack
def test_a_writer_that_was_suspended_in_the_middle_spoils_nothing(
    trail: Trail, open_trail: OpenTrail, ledger: SqliteLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, other = ledger.append, open_trail(tmp_path / "other")
    trail.append("hub", None, batch(1, 5))

    def late(entries: Any) -> Any:
        """Another host takes over before the entry is written."""
        monkeypatch.setattr(ledger, "append", append)
        other.append("hub", other.cursor("hub"), batch(1, 3))
        other.seal()
        return append(entries)

    monkeypatch.setattr(ledger, "append", late)
    with pytest.raises(Conflict):
        trail.seal()
    assert (trail.cursor("hub"), other.cursor("hub")) == ("4", "4")
    assert everything(trail.directory) == []
    assert everything(other.directory) == expected(3)


def test_what_was_killed_behind_its_entry_is_finished_though_others_have_gone_on_from_it(
    trail: Trail, open_trail: OpenTrail, ledger: SqliteLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, other = ledger.append, open_trail(tmp_path / "other")
    trail.append("hub", None, batch(1, 5))

    def die(entries: Any) -> Any:
        append(entries)
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", die)
        with pytest.raises(Death):
            trail.seal()
    assert verify_trail(TrailFiles(trail.directory), ledger).problems == ()
    read_on(other, 8)
    other.seal()
    again = open_trail()
    assert again.cursor("hub") == "9"
    assert everything(trail.directory) == expected(5)
    assert [entry.number for entry in segment_entries(ledger)] == [0, 1]


def test_what_another_host_seals_between_two_looks_is_no_sign_of_anything(
    trail: Trail, open_trail: OpenTrail, cursors: Cursors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, other = cursors.read, open_trail(tmp_path / "other")
    read_on(other, 8)

    def late(source: str) -> Any:
        """What stood there a moment ago."""
        state = read(source)
        monkeypatch.setattr(cursors, "read", read)
        other.seal()
        return state

    monkeypatch.setattr(cursors, "read", late)
    assert trail.cursor("hub") == "9"


@pytest.mark.attack
def test_a_spool_that_has_lost_events_before_its_last_batch_is_refused(trail: Trail, open_trail: OpenTrail) -> None:
    """Else what was lost would lie before the cursor of the batches behind it, and nobody would read it again."""
    trail.append("hub", None, batch(1, 4))
    trail.append("hub", "5", batch(5, 8))
    spool = TrailFiles(trail.directory).spool("hub")
    lines = spool.read_bytes().splitlines(keepends=True)
    spool.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(Invalid, match="not whole"):
        open_trail().cursor("hub")
    torn = [*lines[:-2], lines[-1]]
    spool.write_bytes(b"".join(torn))
    assert open_trail().cursor("hub") == "5"


def test_a_full_disk_loses_nothing_and_it_goes_on_when_there_is_room(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail.append("hub", None, batch(1, 4))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for attempt in (lambda: trail.append("hub", "5", batch(5, 8)), trail.seal):
            with pytest.raises(Unavailable, match=r"(?i)no space left on device"):
                attempt()
    read_on(trail, 8)
    trail.seal()
    assert everything(trail.directory) == expected(8)


def test_a_ledger_that_takes_nothing_holds_up_the_sealing_and_nothing_else(
    trail: Trail, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise Unrecorded("write", "the ledger", "the disk is full", "Make room")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", refuse)
        patch.setattr("keyturn.access_log.trail.trail.LARGEST", 5)
        read_on(trail, 20)
        with pytest.raises(Unrecorded):
            trail.seal()
    read_on(trail, 24)
    assert [head.records for head in trail.seal()] == [16]
    assert everything(trail.directory) == expected(24)


def test_a_large_segment_is_sealed_before_the_minute_is_over(
    trail: Trail, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.access_log.trail.trail.LARGEST", 5)
    read_on(trail, 30)
    assert len(list(segment_entries(ledger))) == 3
    assert everything(trail.directory) == expected(30)


def test_a_file_of_several_segments_is_verified_and_named_by_segment(tmp_path: Path) -> None:
    scene = TrailWorld.make(tmp_path)
    for first in (301, 401, 501):
        scene.take(first, first + 99)
    merge_trail(scene.directory, datetime.now(UTC) + timedelta(days=2))
    merged = scene.files[0]
    assert (merged.first, merged.last) == (0, 2)
    (report,) = scene.report().sources
    assert (scene.problems(), report.verified) == ([], 5)
    scene.rewrite(merged, "SELECT * FROM old WHERE segment <> 1 OR leaf <> 5")
    assert scene.problems() == ["segment 1 of hub (entry 2): event 5 is missing"]
    scene.ledger.close()


def test_what_a_source_reads_of_a_real_file_is_found_in_it_again_however_it_is_called(
    trail: Trail, ledger: SqliteLedger, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    reads = [line for number in range(1, 60) for line in (audit_line(number), b'{"type":"request"}', b"", b"torn")]
    log.write_bytes(b"\n".join(reads[:120]) + b"\n")
    source = LineSource("hub", 1, log, HubReads(AuditMount("secret", "", {}), logins=True), "")
    take_all(trail, source)
    log.rename(tmp_path / "audit.log.1")
    log.write_bytes(b"\n".join(reads[120:]) + b"\n")
    take_all(trail, source)
    source.close()
    trail.seal()
    with gzip.open(tmp_path / "audit.log.1.gz", "wb") as packed:
        packed.write((tmp_path / "audit.log.1").read_bytes())
    (tmp_path / "audit.log.1").unlink()
    comparison = compare_files(TrailFiles(trail.directory), ledger, "hub", [log])
    assert (comparison.problems, comparison.lines) == ([], len(reads))
    changed = log.read_bytes().replace(b"ml/db40", b"ml/db41", 1)
    log.write_bytes(changed)
    comparison = compare_files(TrailFiles(trail.directory), ledger, "hub", [log])
    assert list(map(str, comparison.problems)) == ["audit.log:37: this line is not what it was"]


def audit_line(number: int) -> bytes:
    """A read of a secret, as the hub writes it."""
    return json.dumps(
        {
            "time": f"2026-11-01T12:00:{number:02}Z",
            "type": "response",
            "auth": {"display_name": "approle", "accessor": "hmac-sha256:4be1"},
            "request": {"operation": "read", "path": f"secret/data/ml/db{number}", "remote_address": "10.0.0.1"},
            "response": {"data": {"data": {"x": "hmac-sha256:1"}, "metadata": {"version": 1}}},
        }
    ).encode()


def take_all(trail: Trail, source: LineSource) -> None:
    """What a reader does."""
    cursor, more = trail.cursor("hub"), True
    while more:
        told = source.read(cursor, 7)
        trail.append("hub", cursor, told)
        cursor, more = told.cursor, told.more
