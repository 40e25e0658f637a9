"""An investigation reports tampering with the access trail."""

import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from keyturn.access_log.trail import summaries
from keyturn.access_log.trail.investigation import investigate
from keyturn.access_log.trail.parquet import connected
from keyturn.access_log.trail.period import Period
from keyturn.access_log.trail.summaries import write_summary
from tests.access_log.trail.events import NOON
from tests.access_log.trail.logs import TrailWorld


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrailWorld]:
    """A trail with a summary of its first segment."""
    monkeypatch.setattr(summaries, "WORTH", 0)
    made = TrailWorld.make(tmp_path)
    with connected() as connection:
        write_summary(connection, made.files[0])
    assert made.problems() == []
    yield made
    made.ledger.close()


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "rows",
    [
        "SELECT * FROM old WHERE path <> 'ml/1'",
        "SELECT * REPLACE ('somebody else' AS principal) FROM old",
        "SELECT * REPLACE (first - INTERVAL 1 YEAR AS first, last - INTERVAL 1 YEAR AS last) FROM old",
        "SELECT * REPLACE (day - INTERVAL 1 DAY AS day) FROM old",
        "SELECT * FROM old UNION ALL FROM old",
        "SELECT path FROM old",
    ],
)
def test_totals_that_differ_from_the_events_are_reported(scene: TrailWorld, rows: str) -> None:
    summary = scene.files[0].summary
    changed = summary.with_suffix(".changed")
    duckdb.execute(f"COPY (WITH old AS (FROM '{summary}') {rows}) TO '{changed}' (FORMAT parquet)")
    changed.rename(summary)
    name = scene.files[0].name
    assert scene.problems() == [f"the summary of {name} is not that of its events: delete it, it is made again"]


def test_a_file_with_a_misleading_time_in_its_name_is_reported(scene: TrailWorld) -> None:
    stored = scene.files[1]
    hidden = stored.path.with_name(stored.name.replace(f".{stored.start}-{stored.end}.", ".100-200."))
    stored.path.rename(hidden)
    assert scene.problems() == [f"{hidden.name}: its name says another time than it is of"]


def test_the_trail_is_readable_only_by_its_owner(scene: TrailWorld) -> None:
    files = [path for path in scene.files[0].directory.rglob("*") if not path.name.endswith(".lock")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(scene.files[0].path.parent.stat().st_mode) == 0o700


def test_unreadable_events_are_not_reported_as_no_readers(scene: TrailWorld) -> None:
    for stored in scene.files:
        stored.path.write_bytes(b"gone")
    answer = investigate(scene.files[0].directory, "ml/1", Period(NOON - timedelta(days=1)))
    assert answer.accesses == 0
    assert not answer.coverage.covers(answer.period)
