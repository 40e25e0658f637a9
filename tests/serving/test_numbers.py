"""Metrics of the whole workspace, without values for what could not be checked."""

import json
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.utils import floatToGoString

from keyturn.client.clock import elapsed
from keyturn.client.metrics import Histogram, Kind
from keyturn.core.errors import Denied, NotFound
from keyturn.core.notifications.alerts import ALERT, AlertNote
from keyturn.core.ports.hub import State
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import leaf
from keyturn.providers.prometheus.metrics import NumbersCollector, exposition
from keyturn.recovery.drill_notes import RESTORE_DRILL, DrillNote
from keyturn.serving.numbers import ledger as ledger_numbers
from keyturn.serving.numbers.board import Board, Numbers, Seen, board_metrics
from keyturn.serving.numbers.displayed import PREFIX, SHOWN, TOLD_BY, Area
from keyturn.serving.numbers.ledger import LedgerTally
from keyturn.serving.numbers.part import NumbersPart
from keyturn.serving.numbers.published import publish
from keyturn.serving.numbers.relay import RelayPart
from keyturn.serving.parts import NUMBERS, Tenure
from tests.support.hooks import eventually

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(seconds: float, action: str, outcome: Outcome, secret: str = "", note: str = "", place: str = "") -> Entry:
    return Entry(BEGAN + timedelta(seconds=seconds), "worker", action, outcome, secret, note=note, place=place)


class Written:
    """A ledger of these entries, as far as it is read."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)

    def leaves(self, first: int = 1, last: int | None = None) -> Iterable[tuple[int, bytes]]:
        for number, each in enumerate(self.entries, 1):
            if number >= first:
                yield number, leaf(number, each)


def tally_of(*entries: Entry) -> Numbers:
    ledger: Any = Written(entries)
    return LedgerTally().read_on(ledger)


def lines_of(board: Board) -> list[str]:
    return exposition(NumbersCollector(PREFIX, board_metrics(), {(): board}))().splitlines()


def shown(area: Area, numbers: Numbers | None) -> list[str]:
    board = Board()
    board.put(area, Seen(BEGAN, 0.5, numbers))
    return [line for line in lines_of(board) if not line.startswith("#")]


ROTATED = (
    entry(0, "rotate", Outcome.BEGUN, "a"),
    entry(1, "decide", Outcome.DONE, "a"),
    entry(2, "stage", Outcome.DONE, "a"),
    entry(3, "install", Outcome.FAILED, "a", "Throttled: it asks for a slower pace"),
    entry(40, "stage", Outcome.BEGUN, "a"),
    entry(42, "promote", Outcome.DONE, "a"),
    entry(43, "push", Outcome.BEGUN, "a"),
    entry(44, "push", Outcome.DONE, "a"),
    entry(45, "push", Outcome.FAILED, "a", "what a newer release says"),
    entry(45, "push", Outcome.FAILED, "a", "Throttled: it asks for a slower pace", "aws:a"),
    entry(45, "push", Outcome.FAILED, "a", "Throttled: it asks for a slower pace", "aws:team:b"),
    entry(46, "rotate", Outcome.DONE, "a"),
    entry(50, "promote", Outcome.DONE, "b"),
    entry(60, "retire", Outcome.DONE, "a"),
)


def test_rotations_are_counted_by_what_they_came_to_and_take_as_long_as_from_their_first_step() -> None:
    lines = shown(Area.LEDGER, tally_of(*ROTATED))
    assert 'keyturn_rotations_total{outcome="promoted"} 2.0' in lines
    assert 'keyturn_rotations_total{outcome="failed"} 1.0' in lines
    assert 'keyturn_rotations_total{outcome="retired"} 1.0' in lines
    assert 'keyturn_rotations_total{outcome="abandoned"} 0.0' in lines
    assert 'keyturn_rotation_duration_seconds_bucket{le="30.0"} 0.0' in lines
    assert 'keyturn_rotation_duration_seconds_bucket{le="60.0"} 1.0' in lines
    assert "keyturn_rotation_duration_seconds_sum 42.0" in lines
    assert "keyturn_rotation_duration_seconds_count 1.0" in lines
    assert 'keyturn_pushes_total{outcome="failed"} 3.0' in lines
    assert 'keyturn_push_failures_total{code="KT102",store="aws"} 2.0' in lines
    assert 'keyturn_push_failures_total{code="none",store="none"} 1.0' in lines
    assert 'keyturn_failures_total{code="KT102"} 3.0' in lines
    assert 'keyturn_failures_total{code="none"} 1.0' in lines
    assert f"keyturn_ledger_entries {len(ROTATED)}.0" in lines


def test_of_very_many_stores_the_last_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_numbers, "MOST_STORES", 2)
    failed = [
        entry(0, "push", Outcome.FAILED, "a", "Throttled: no", f"{store}:a") for store in ("a", "b", "c", "d", "a")
    ]
    told = tally_of(*failed).samples["push_failures"]
    assert told == {("a", "KT102"): 2, ("b", "KT102"): 1, ("(others)", "KT102"): 2}


def test_a_ledger_is_read_on_and_counts_nothing_twice() -> None:
    ledger: Any = Written(ROTATED[:6])
    tally = LedgerTally()
    tally.read_on(ledger)
    ledger.entries += ROTATED[6:]
    assert tally.read_on(ledger) == tally_of(*ROTATED) == tally.read_on(ledger)


def test_incidents_and_drills_tell_how_long_a_credential_was_good_after_all() -> None:
    lines = shown(
        Area.LEDGER,
        tally_of(
            entry(0, "open incident", Outcome.DONE, note="INC-1: it leaked (path a, replace)"),
            entry(0, "open incident", Outcome.DONE, note="INC-1: it leaked (path a, replace)"),
            entry(0.4, "cut", Outcome.DONE, "a", "INC-1"),
            entry(9, "cut", Outcome.DONE, "c", "version 3"),
            entry(20, "close incident", Outcome.DONE, note="INC-1"),
            entry(100, "drill", Outcome.BEGUN, "a", "DRILL-1; catalogue abc"),
            entry(101, "open incident", Outcome.DONE, note="DRILL-1: drill (path x, replace)"),
            entry(103, "cut", Outcome.DONE, "x", "DRILL-1; one session can't be ended"),
            entry(105, "close incident", Outcome.DONE, note="DRILL-1"),
            entry(106, "drill", Outcome.DONE, "a", "DRILL-1; NOT proven"),
        ),
    )
    assert 'keyturn_incidents_total{kind="incident",outcome="opened"} 1.0' in lines
    assert 'keyturn_incident_revoke_seconds_sum{kind="incident"} 0.4' in lines
    assert 'keyturn_incident_revoke_seconds_count{kind="incident"} 1.0' in lines
    assert 'keyturn_incident_revoke_seconds_sum{kind="drill"} 2.0' in lines
    assert 'keyturn_incident_close_seconds_sum{kind="incident"} 20.0' in lines
    assert 'keyturn_drills_total{outcome="failed"} 1.0' in lines
    assert "keyturn_drill_last_proven 0.0" in lines
    assert "keyturn_drill_last_duration_seconds 6.0" in lines
    assert f"keyturn_drill_last_time_seconds {floatToGoString((BEGAN + timedelta(seconds=106)).timestamp())}" in lines


def test_drills_of_restoring_tell_how_long_it_takes_and_how_old_the_recovery_point_was() -> None:
    point = BEGAN - timedelta(seconds=12)
    proven = DrillNote("20261128T000000Z-00000000/3", True, 1000, 2000, 41.5, point, timedelta(seconds=12))
    begun = entry(0, RESTORE_DRILL, Outcome.BEGUN, note="catalogue abc")
    lines = shown(Area.LEDGER, tally_of(begun, entry(50, RESTORE_DRILL, Outcome.DONE, note=proven.words)))
    assert 'keyturn_restore_drills_total{outcome="done"} 1.0' in lines
    assert "keyturn_restore_drill_last_proven 1.0" in lines
    assert "keyturn_restore_drill_last_recovery_seconds 41.5" in lines
    assert "keyturn_restore_drill_last_point_age_seconds 12.0" in lines
    assert "keyturn_restore_drill_last_entries 1000.0" in lines
    unproven = replace(proven, proven=False)
    lines = shown(Area.LEDGER, tally_of(begun, entry(50, RESTORE_DRILL, Outcome.DONE, note=unproven.words)))
    assert 'keyturn_restore_drills_total{outcome="failed"} 1.0' in lines
    assert "keyturn_restore_drill_last_proven 0.0" in lines
    lines = shown(Area.LEDGER, tally_of(begun, entry(50, RESTORE_DRILL, Outcome.FAILED, note="Denied: no")))
    assert "keyturn_restore_drill_last_proven 0.0" in lines
    assert not [line for line in lines if line.startswith("keyturn_restore_drill_last_recovery_seconds ")]


def test_an_alert_counts_once_whatever_else_is_told_of_it() -> None:
    def told(stage: str) -> Entry:
        note = AlertNote("AL-1", stage, "high", 900, "hub", "app", 1, "", BEGAN, BEGAN, 3, ("new",))
        return entry(0, ALERT, Outcome.DONE, note=note.to_text())

    lines = shown(Area.LEDGER, tally_of(told("begun"), told("raised"), told("complete")))
    assert 'keyturn_alerts_total{level="high"} 1.0' in lines


@pytest.mark.attack
def test_unchecked_metrics_are_absent_and_never_zero() -> None:
    assert shown(Area.INCIDENTS, None) == [
        'keyturn_look_up{area="incidents"} 0.0',
        f'keyturn_looked_at_seconds{{area="incidents"}} {floatToGoString(BEGAN.timestamp())}',
        'keyturn_look_duration_seconds{area="incidents"} 0.5',
    ]
    assert "keyturn_incidents_open 0.0" in shown(Area.INCIDENTS, Numbers({"incidents_open": {(): 0}}, {}))
    assert [line for line in lines_of(Board()) if not line.startswith("#")] == []


def test_one_area_that_fails_keeps_no_other_from_being_told_and_the_end_of_the_part_forgets_all() -> None:
    board, said, looked = Board(), list[str](), threading.Event()

    def denied() -> Numbers:
        raise Denied("list", "keyturn/incidents", "the hub denies it", "Give the login that right")

    def broken() -> Numbers:
        raise ZeroDivisionError("s3cret-value")

    def reviews() -> Numbers:
        looked.set()
        return Numbers({"unreviewed": {(): 2}}, {})

    looks = {Area.INCIDENTS: denied, Area.PARTS: broken, Area.REVIEWS: reviews}
    part, tenure = NumbersPart(looks, board, said.append), Tenure(NUMBERS, 1, elapsed, lambda: None)
    worker = threading.Thread(target=part.run, args=(tenure,))
    worker.start()
    try:
        eventually(lambda: Area.REVIEWS in board.seen())
        lines = lines_of(board)
        assert "keyturn_unreviewed 2.0" in lines
        assert 'keyturn_look_up{area="reviews"} 1.0' in lines
        assert 'keyturn_look_up{area="incidents"} 0.0' in lines
        assert not any(line.startswith("keyturn_incidents_open") for line in lines)
        assert tenure.measure().trouble == "can't be looked at: incidents, parts"
    finally:
        tenure.ended.set()
        worker.join()
    assert board.seen() == {}
    assert looked.is_set()
    assert [line.partition(": ")[0] for line in said] == ["error", "error"]
    assert "s3cret-value" not in "".join(said)


class Entries:
    """The hub's entries, all of one age in seconds."""

    def __init__(self, age: float = 0.0) -> None:
        self.age = age
        self.kept: dict[str, dict[str, Any]] = {}

    def read_state(self, path: str) -> State | None:
        return State(json.loads(json.dumps(self.kept[path])), 1, self.age) if path in self.kept else None

    def write_state(self, path: str, data: dict[str, Any], *, cas: int) -> int:
        self.kept[path] = data
        return cas + 1


@pytest.mark.attack
def test_published_numbers_are_served_unchanged_until_they_expire() -> None:
    hub: Any = Entries()
    numbers = tally_of(*ROTATED)
    publish(hub, Area.LEDGER, Seen(BEGAN, 0.5, numbers), 60.0)
    publish(hub, Area.KEYS, Seen(BEGAN, 0.5, None, "the hub does not answer"), 60.0)
    board = Board()
    RelayPart(lambda: hub, board).read()
    told = shown(Area.LEDGER, numbers)
    assert set(told) - set(lines_of(board)) == set()
    assert 'keyturn_look_up{area="keys"} 0.0' in lines_of(board)
    assert board.seen().keys() == {Area.LEDGER, Area.KEYS}, "of what nobody has looked at nothing is said"
    assert "answer" not in json.dumps(hub.kept), "numbers alone are kept"
    hub.age = 2 * 60.5 + 60.1
    RelayPart(lambda: hub, board).read()
    assert 'keyturn_look_up{area="ledger"} 0.0' in lines_of(board)
    assert not any(line.startswith("keyturn_rotations_total") for line in lines_of(board))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"at": "yesterday"},
        {"at": "2026-03-01T12:00:00"},
        {"seconds": "none"},
        {"numbers": "{"},
        {"numbers": '{"rotations": 1}'},
        {"numbers": '[["rotations", [["promoted", "many"]]]]'},
        {"numbers": '[["rotations", [["promoted", "more", 1]]]]'},
        {"numbers": '[["rotation_duration_seconds", [[[1.0], [], 0, 0.0]]]]'},
    ],
    ids=str,
)
@pytest.mark.attack
def test_an_invalid_entry_hides_only_its_own_area(change: dict[str, Any]) -> None:
    hub: Any = Entries()
    for area in (Area.LEDGER, Area.REVIEWS):
        publish(hub, area, Seen(BEGAN, 0.5, tally_of(*ROTATED)), 60.0)
    hub.kept["numbers/ledger"] |= change
    board = Board()
    RelayPart(lambda: hub, board).read()
    assert {area: seen.numbers is not None for area, seen in board.seen().items()} == {
        Area.LEDGER: False,
        Area.REVIEWS: True,
    }


def test_a_number_of_a_newer_release_is_left_out_and_a_relay_without_any_says_who_has_to_look() -> None:
    hub: Any = Entries()
    with pytest.raises(NotFound, match="keyturn serve --only numbers --publish"):
        RelayPart(lambda: hub, Board()).read()
    publish(hub, Area.LEDGER, Seen(BEGAN, 0.5, tally_of(*ROTATED)), 60.0)
    kept = json.loads(hub.kept["numbers/ledger"]["numbers"])
    hub.kept["numbers/ledger"]["numbers"] = json.dumps([*kept, ["later", [["a", 1]]]])
    board = Board()
    RelayPart(lambda: hub, board).read()
    assert set(shown(Area.LEDGER, tally_of(*ROTATED))) <= set(lines_of(board))


def test_every_number_has_an_area_that_says_where_it_is_from_and_a_name_of_its_own() -> None:
    names = [metric.name for metric in board_metrics()]
    assert len(names) == len(set(names))
    assert set(TOLD_BY) == set(Area)
    assert {number.area for number in SHOWN} == set(Area)
    for number in SHOWN:
        assert number.help.endswith("."), number.name
        assert number.name.endswith("_seconds") == (number.unit == "s"), number.name
        assert number.kind is not Kind.COUNTER or not number.name.endswith("_total"), number.name
    assert {metric.name for metric in board_metrics() if isinstance(metric, Histogram)} == {
        "rotation_duration_seconds",
        "incident_revoke_seconds",
        "incident_close_seconds",
    }


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 0.1, 0.2, 1e8])
def test_each_duration_is_in_one_bucket_and_in_those_above(seconds: float) -> None:
    steps = entry(0, "stage", Outcome.BEGUN, "a"), entry(seconds, "promote", Outcome.DONE, "a")
    lines = shown(Area.LEDGER, tally_of(*steps))
    counts = [float(line.split()[-1]) for line in lines if "rotation_duration_seconds_bucket" in line]
    assert counts == sorted(counts)
    assert counts[-1] == 1.0
    assert counts[0] == float(seconds <= 0.1)
