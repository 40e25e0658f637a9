"""An incident's report lists the same readers from the trail as from the events."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyturn.access_log.hub_log import HubAuditLog
from keyturn.access_log.readers import Readers, gather
from keyturn.access_log.trail.merging import merge_trail
from keyturn.access_log.trail.totals import TrailLog
from keyturn.core.ports.access import READ, Access, Coverage
from keyturn.revocation.report.facts import logs_at_hand
from tests.access_log.trail.events import NOON, access, write
from tests.access_log.trail.test_investigation import DAY

OWN = ["approle keyturn-worker"]
SINCE, UNTIL = NOON - timedelta(days=3), NOON + timedelta(minutes=12)


class Events:
    """A log that tells each event."""

    name = "events"
    coverage = Coverage()

    def accesses(self, since: datetime, until: datetime) -> Iterator[Access]:
        return (event for event in DAY if since <= event.at <= until and event.action == READ)


def told(readers: Readers) -> Readers:
    return replace(readers, logs=())


@pytest.mark.parametrize("merged", [False, True])
def test_what_the_trail_adds_up_is_what_its_events_tell(tmp_path: Path, merged: bool) -> None:
    for number, events in enumerate((DAY, [], [], [])):
        write(tmp_path, number, events)
    assert merge_trail(tmp_path, datetime(2099, 1, 1, tzinfo=UTC) if merged else NOON) == merged
    asked: Any = (["ml/db", "ml/never"], SINCE, UNTIL, OWN)
    answer = gather([TrailLog(tmp_path)], *asked)
    assert told(answer) == told(gather([Events()], *asked))
    assert answer.paths[0].readers[0].logins[0] == ("4b1", 1)
    (log,) = answer.logs
    assert (log.coverage.lines, log.coverage.first, log.coverage.last) == (12, NOON, UNTIL)
    assert log.coverage.gaps == ("hub: it begins at 2026-11-01 12:00:00 UTC; what was before is not known",)


def test_a_trail_of_which_nothing_is_known_says_so(tmp_path: Path) -> None:
    nowhere, empty = gather([TrailLog(tmp_path / "nowhere"), TrailLog(tmp_path)], ["ml/db"], SINCE, UNTIL).logs
    assert "there is no such directory" in nowhere.failed
    assert empty.coverage.gaps == ("no log was read into it yet", "it reports nothing of that time")
    write(tmp_path, 0, [access(NOON + timedelta(days=9))])
    (later,) = gather([TrailLog(tmp_path)], ["ml/db"], SINCE, UNTIL).logs
    assert later.coverage.gaps[-1] == "it reports nothing of that time"


def test_a_report_takes_the_trail_where_there_is_one_and_else_the_audit_file(tmp_path: Path) -> None:
    workspace = cast("Any", SimpleNamespace(hub=SimpleNamespace(mount="secret", mounts={})))

    def kinds(**env: str) -> list[type]:
        return [type(log) for log in logs_at_hand(workspace, env)]

    assert kinds(KEYTURN_TRAIL=str(tmp_path), KEYTURN_HUB_AUDIT_FILE="audit.log") == [TrailLog]
    gone = str(tmp_path / "gone")
    assert kinds(KEYTURN_TRAIL=gone, KEYTURN_HUB_AUDIT_FILE="audit.log") == [TrailLog, HubAuditLog]
    assert kinds(KEYTURN_HUB_AUDIT_FILE="audit.log") == [HubAuditLog]
    assert kinds() == []
