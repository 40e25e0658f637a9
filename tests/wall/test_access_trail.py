"""Cutting, editing or reordering the access trail is detected."""

import gzip
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.identity import TrailParts
from keyturn.access_log.trail.retention import delete_expired
from keyturn.access_log.trail.verification.file_comparison import compare_files
from keyturn.core.errors import Rewritten
from keyturn.core.ports.ledger import Outcome
from tests.access_log.trail.events import NOON
from tests.access_log.trail.logs import TrailWorld, batch, line

FIRST, SECOND = "segment 0 of hub (entry 1)", "segment 1 of hub (entry 2)"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrailWorld:
    """Two segments of a hundred events each, of the lines 1 to 300."""
    made = TrailWorld.make(tmp_path_factory.mktemp("trail"))
    assert made.problems() == []
    return made


@pytest.fixture
def scene(whole: TrailWorld, tmp_path: Path) -> Iterator[TrailWorld]:
    """A copy of it."""
    made = whole.copy_to(tmp_path)
    yield made
    made.ledger.close()


def test_a_truncated_trail_is_reported(scene: TrailWorld) -> None:
    scene.files[1].path.unlink()
    assert scene.problems() == [f"{SECOND} is missing, with 100 events: it was deleted, or an older state put back"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("SELECT * FROM old WHERE leaf <> 17", "event 17 is missing"),
        ("SELECT * FROM old WHERE leaf < 90", "10 of its 100 events are missing, the first of them 90, at its end"),
        (
            "SELECT * REPLACE (CASE WHEN leaf > 17 THEN leaf - 1 ELSE leaf END AS leaf) FROM old WHERE leaf <> 17",
            "event 99 is missing, at its end",
        ),
        (
            "SELECT * REPLACE (CASE leaf WHEN 70 THEN 'somebody else' ELSE principal END AS principal) FROM old",
            "one of the events 64 to 99 (audit.log:97 to audit.log:149) is not what it was",
        ),
        (
            "SELECT * REPLACE (CASE leaf WHEN 3 THEN NULL ELSE time END AS time) FROM old",
            "one of the events 0 to 63 (audit.log:1 to audit.log:95) is not what it was",
        ),
        (
            "SELECT * FROM old ORDER BY CASE leaf WHEN 5 THEN 9.5 ELSE leaf END",
            "its events are in another order from event 5 (audit.log:10) on",
        ),
        (
            "SELECT * REPLACE (row_number() OVER () - 1 AS leaf) FROM (SELECT * FROM old ORDER BY path, leaf)",
            "none of its events is where it was sealed: it is another segment's, or was rewritten",
        ),
        (
            "SELECT * FROM old UNION ALL SELECT * REPLACE (100 AS leaf, 'x' AS principal) FROM old WHERE leaf = 3",
            "an event was put in, as event 100 (audit.log:5)",
        ),
    ],
    ids=["removed", "cut", "renumbered", "edited", "emptied", "reordered", "sorted", "inserted"],
)
def test_tampered_events_are_reported(scene: TrailWorld, rows: str, problem: str) -> None:
    scene.rewrite(scene.files[0], rows)
    assert scene.problems() == [f"{FIRST}: {problem}"]


def test_two_exchanged_files_are_reported(scene: TrailWorld) -> None:
    first, second = (stored.path for stored in scene.files)
    beside = first.with_suffix(".beside")
    for old, new in ((first, beside), (second, first), (beside, second)):
        old.rename(new)
    problems = scene.problems()
    assert f"{first.name} holds events of segment 1, which is not one of its own" in problems
    assert f"{second.name} holds events of segment 0, which is not one of its own" in problems


def test_a_file_with_another_segment_under_its_number_is_reported(scene: TrailWorld) -> None:
    other = scene.files[1].path
    scene.rewrite(scene.files[0], f"SELECT * REPLACE (0 AS segment) FROM read_parquet('{other}')")  # noqa: S608
    assert scene.problems() == [
        f"{FIRST}: none of its events is where it was sealed: it is another segment's, or was rewritten"
    ]


def test_an_unsealed_segment_is_reported(scene: TrailWorld) -> None:
    forged = replace(scene.files[1], first=7, last=7)
    shutil.copy(scene.files[1].path, forged.path)
    problems = scene.problems()
    assert f"{forged.path.name} holds events of segment 1, which is not one of its own" in problems


def test_the_metadata_of_a_file_and_of_the_head_is_compared_with_the_ledger(scene: TrailWorld) -> None:
    heads = scene.directory / "heads" / "hub.jsonl"
    heads.write_text(heads.read_text().replace("audit.log:75", "audit.log:57", 1))
    assert scene.problems() == [f"the head of {FIRST} is not what it was"]
    heads.unlink()
    assert scene.problems() == [f"the head of {FIRST} is missing", f"the head of {SECOND} is missing"]


def test_a_trail_restored_from_yesterday_is_reported_and_never_continued(scene: TrailWorld, tmp_path: Path) -> None:
    shutil.copytree(scene.directory, tmp_path / "yesterday")
    scene.take(301, 320)
    shutil.rmtree(scene.directory)
    shutil.move(tmp_path / "yesterday", scene.directory)
    third = "segment 2 of hub (entry 3)"
    assert scene.problems() == [
        f"the head of {third} is missing",
        f"{third} is missing, with 14 events: it was deleted, or an older state put back",
    ]
    with pytest.raises(Rewritten, match="an older state was put back"):
        scene.open().cursor("hub")
    with pytest.raises(Rewritten, match="an older state was put back"):
        scene.open().append("hub", "301", batch(301, 310))
    (loss,) = scene.open().accept_losses("the disk failed")
    assert (loss.first, loss.last) == (2, 2)
    scene.take(321, 340)
    (report,) = scene.report().sources
    assert scene.problems() == []
    assert [(gone.first, gone.last, gone.reason) for gone in report.expired] == [(2, 2, "the disk failed")]
    assert scene.open().accept_losses("again") == []


def test_a_removed_trail_is_reported_although_a_new_one_replaces_it(scene: TrailWorld) -> None:
    shutil.rmtree(scene.directory)
    assert scene.open().cursor("hub") == "301"
    assert "no segment of hub was sealed in this trail: all 2 are in others" in scene.problems()
    scene.take(301, 310)
    report = scene.report()
    assert report.sources[0].gaps == 1
    assert any(text.startswith("2 segments of hub, stored on") for text in report.unseen)


def test_a_ledger_restored_from_an_older_copy_is_reported(scene: TrailWorld, tmp_path: Path) -> None:
    with scene.ledger._reading() as connection:
        connection.execute("DELETE FROM entries WHERE sequence = 2")
    with pytest.raises(Rewritten, match=r"has not the entry 2, by which segment 1 of hub was sealed"):
        scene.open().cursor("hub")
    assert any("and no entry of the ledger records it" in problem for problem in scene.problems())


def test_a_cursor_set_back_in_the_hub_is_reported_and_nothing_is_read_twice(scene: TrailWorld) -> None:
    state = scene.cursors.read("hub")
    scene.cursors.write("hub", replace(state, cursor="151", segments=1, entry=1))
    assert scene.problems() == [f"the cursor of hub in the hub is not where {SECOND} has ended: it was changed"]
    assert scene.open().cursor("hub") == "301"
    scene.open().seal("hub")
    assert scene.cursors.read("hub").cursor == "301"
    assert scene.report().sources[0].gaps == 1


def test_a_hub_that_lost_its_cursor_gets_it_again(scene: TrailWorld) -> None:
    del scene.cursors.states["hub"]
    assert scene.open().cursor("hub") == "301"


def test_expired_events_are_removed_and_leave_no_gap(scene: TrailWorld) -> None:
    now = NOON + timedelta(days=31, seconds=200)
    parts = TrailParts(TrailFiles(scene.directory), scene.ledger, scene.cursors)
    (expired,) = delete_expired(parts, scene.entry, now, timedelta(days=31))
    assert (expired.first, expired.last) == (0, 0)
    report = scene.report()
    assert report.problems == ()
    assert (report.sources[0].expired_segments, report.sources[0].verified) == (1, 1)
    assert scene.open().cursor("hub") == "301"


def test_a_deletion_by_age_does_not_cover_younger_events(scene: TrailWorld) -> None:
    parts = TrailParts(TrailFiles(scene.directory), scene.ledger, scene.cursors)
    (expired,) = delete_expired(parts, scene.entry, NOON + timedelta(days=31, seconds=200), timedelta(days=31))
    forged = replace(expired, first=0, last=1)
    scene.ledger.append([scene.entry("access-retention", Outcome.BEGUN, "hub", forged.note())])
    scene.files[0].path.unlink()
    (problem,) = scene.problems()
    assert problem.startswith(f"{SECOND} was deleted by entry 5")
    assert problem.endswith("it has younger ones")


LINES = [line(number) for number in range(1, 301)]
WHOLE: list[str] = []


@pytest.mark.parametrize(
    ("edit", "problems"),
    [
        (lambda lines: lines, WHOLE),
        (lambda lines: [*lines, b"newer"], WHOLE),
        (lambda lines: [*lines[:99], b"edited", *lines[100:]], ["audit.log:100: this line is not what it was"]),
        (
            lambda lines: [*lines[:98], b"edited", *lines[99:]],
            ["audit.log:76 to 150: a line that reports no access has changed"],
        ),
        (lambda lines: [*lines[:99], *lines[100:]], ["audit.log:100: this line is gone"]),
        (
            lambda lines: [*lines[:98], *lines[99:]],
            ["audit.log:76 to 150: 1 line was removed, from those that report no access"],
        ),
        (
            lambda lines: [*lines[:74], *lines[77:]],
            ["audit.log:76: this line is gone", "audit.log:77: this line is gone"],
        ),
        (
            lambda lines: [*lines[:99], lines[100], lines[99], *lines[101:]],
            ["audit.log:100: the lines are in another order from here on, or one is repeated"],
        ),
        (lambda lines: [*lines[:99], b"new", *lines[99:]], ["audit.log:76 to 150: 1 line was put in"]),
        (lambda lines: lines[1:], ["audit.log:1: this line is gone"]),
        (
            lambda lines: lines[:297],
            ["audit.log:298: this line is gone", "audit.log:299: this line is gone",
             "audit.log:226 to 300: 3 lines were cut off at the end"],
        ),
        (lambda lines: [b"another log"], ["audit.log:1 to 300: none of its lines is in these files"]),
    ],
    ids=["whole", "newer", "edited", "other-edited", "removed", "other-removed", "hole", "swapped", "inserted",
         "beginning", "end", "other-log"],
)  # fmt: skip
def test_tampering_with_the_hubs_own_file_is_reported(
    scene: TrailWorld, tmp_path: Path, edit: Callable[[list[bytes]], list[bytes]], problems: list[str]
) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(b"".join(text + b"\n" for text in edit(LINES)))
    comparison = compare_files(TrailFiles(scene.directory), scene.ledger, "hub", [file])
    assert [str(problem) for problem in comparison.problems] == problems
    assert (comparison.lines == 300) == (problems == [])


def test_a_rotated_and_compressed_file_is_recognised_by_its_contents(scene: TrailWorld, tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_bytes(b"newer\n")
    with gzip.open(tmp_path / "audit.log.1.gz", "wb") as packed:
        packed.write(b"".join(text + b"\n" for text in LINES))
    comparison = compare_files(TrailFiles(scene.directory), scene.ledger, "hub", [tmp_path / "audit.log"])
    assert (comparison.problems, comparison.lines) == ([], 300)
    assert comparison.remarks == ["audit.log holds nothing that the trail has read"]
