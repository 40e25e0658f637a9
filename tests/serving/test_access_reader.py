"""Log reading in `keyturn serve`: each alert once, whichever process dies."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from keyturn.access_log.detection.alerts import Alert, Stage
from keyturn.core.errors import Unavailable, Unrecorded
from keyturn.core.ports.access import DESTROY
from keyturn.core.ports.access_source import Batch
from keyturn.serving import access_reader
from keyturn.serving.alerts_sent import TellOnce, ToldMemory
from keyturn.serving.history import remembered
from keyturn.serving.numbers.process import EVENTS, GAPS, SEGMENTS
from tests.access_log.reactions.samples import BEGUN
from tests.serving.watched import NIGHT, NOW, ListSource, Siren, Site, Steps, TableHub, access

PEOPLE = ("ann", "bob", "cay")
STEPS = 48
"""The moments at which a process may die that reads these."""
READS = [access(1 + number, PEOPLE[number % 3], f"ml/{number}") for number in range(6)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def kept(site: Site) -> list[str]:
    """The paths of all reads that the trail holds, in its order."""
    return [each.path for _, accesses in remembered(site.trail_directory, "hub", NOW) for each in accesses]


def begun(site: Site) -> Counter[str]:
    return Counter(name for name, stage, _ in site.siren.told if stage == Stage.BEGUN)


def test_what_a_log_tells_is_in_the_trail_judged_and_sealed(site: Site) -> None:
    process = site.process(ListSource(READS))
    process.run()
    assert kept(site) == [read.path for read in READS]
    assert len(begun(site)) == 3
    assert site.recorded() == site.siren.told
    assert process.counts.of(EVENTS) == {"hub": 6}
    assert process.counts.of(SEGMENTS) == {"hub": 1}
    assert process.source.closed == 1


@pytest.mark.sampled(6)
@pytest.mark.parametrize("kill_at", range(STEPS))
def test_killed_anywhere_nothing_is_skipped_or_twice_and_no_alert_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    monkeypatch.setattr(access_reader, "SEAL", 0.0)
    site, steps = Site(tmp_path), Steps(kill_at)
    site.process(ListSource(READS), steps).run_until_killed()
    site.process(ListSource(READS)).run()
    assert len(steps.names) == kill_at + 1, "it ended well: there are no more steps than these"
    died = steps.names[-1]
    assert kept(site) == [read.path for read in READS], died
    assert set(Counter(site.recorded()).values()) == {1}, died
    assert {name for name, stage, _ in site.recorded() if stage == Stage.BEGUN} == set(begun(site)), died
    assert len(begun(site)) == 3, died
    # Between the message and the hub's knowledge of it it is unknown whether it was told.
    unsure = steps.names[-2:] in (["before the siren", "after the siren"], ["after the siren", "before the hub"])
    assert max(Counter(site.siren.told).values()) <= (2 if unsure else 1), died


@pytest.mark.attack
def test_a_restored_older_hub_is_reported_and_no_event_is_skipped_or_repeated(site: Site) -> None:
    site.process(ListSource(READS[:2])).run()
    older = dict(site.hub.states)
    site.process(ListSource(READS[:4])).run()
    site.hub.states.clear()
    site.hub.states.update(older)
    process = site.process(ListSource(READS))
    process.run()
    assert kept(site) == [read.path for read in READS]
    assert set(Counter(site.recorded()).values()) == {1}
    (line,) = site.lines
    assert line.endswith("had ended: it was changed, or the hub put back")
    assert process.counts.of(GAPS) == {"hub": 1}


def test_what_was_there_before_anybody_watched_is_learned_and_not_told(site: Site) -> None:
    old = [access(-3600 + number, "ann", f"ml/{number}") for number in range(4)]
    site.process(ListSource([*old, access(5, "bob")])).run()
    assert len(kept(site)) == 5
    assert [stage for _, stage, _ in site.siren.told] == [Stage.BEGUN]


def test_a_log_that_holds_nothing_yet_is_not_sealed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_reader, "SEAL", 0.0)
    process = site.process(ListSource([]))
    monkeypatch.setattr(process.source, "read", lambda cursor, limit: Batch(cursor or ""))
    process.run()
    assert not process.counts.of(SEGMENTS)
    assert process.trail.cursor("hub") is None


def test_what_goes_on_when_somebody_begins_to_watch_is_told(site: Site) -> None:
    before = [access(-60 * minutes, "ann") for minutes in (3, 2, 1)]
    site.process(ListSource([*before, access(1, "ann"), access(2, "ann")])).run()
    told = list(site.siren.told)
    assert [(stage, count) for _, stage, count in told] == [(Stage.BEGUN, 1)]
    site.process(ListSource([*before, access(1, "ann"), access(2, "ann"), access(3, "ann")])).run()
    assert site.siren.told == told


def test_after_a_start_nothing_is_told_twice_and_an_alert_goes_on(site: Site) -> None:
    site.process(ListSource(READS[:2])).run()
    told = list(site.siren.told)
    site.process(ListSource(READS[:2])).run()
    assert site.siren.told == told
    site.now = NOW + timedelta(hours=1)
    site.process(ListSource(READS[:2])).run()
    complete = site.siren.told[len(told) :]
    assert [(name, stage) for name, stage, _ in complete] == [(name, Stage.COMPLETE) for name, _, _ in told]
    site.process(ListSource(READS[:2])).run()
    assert len(site.siren.told) == 2 * len(told)


def test_a_ledger_that_takes_nothing_holds_up_neither_reading_nor_judging(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_reader, "SEAL", 0.0)
    process = site.process(ListSource(READS))

    def refuse(source: str | None = None) -> list[object]:
        raise Unrecorded("write", "the ledger", "its disk is full", "Make room")

    monkeypatch.setattr(process.trail, "seal", refuse)
    process.run()
    assert len(kept(site)) == 6
    assert len(begun(site)) == 3
    assert site.lines == ["error: access/hub: it can't be sealed: write the ledger: its disk is full. Make room"]
    assert "can't be sealed" in process.tenure.measure().trouble


def test_a_log_that_fails_for_a_while_is_gone_on_with_though_nothing_is_recalled(site: Site) -> None:
    process, source = site.process(ListSource(READS)), ListSource(READS)
    read, failing = source.read, [True]

    def flaky(cursor: str | None, limit: int) -> object:
        if cursor == "4" and failing:
            failing.clear()
            raise Unavailable("read", "the log", "it does not answer")
        return read(cursor, limit)

    source.read = flaky  # type: ignore[method-assign,assignment]
    process.source = source
    process.reader._open_source = lambda: source
    with pytest.raises(Unavailable):
        process.reader.run(process.tenure)
    detector = process.judge._detector
    process.run()
    assert process.judge._detector is detector
    assert len(kept(site)) == 6
    assert len(begun(site)) == 3


def test_rules_that_change_are_used_from_then_on_with_what_was_known(site: Site) -> None:
    process = site.process(ListSource(READS))
    process.judge._policies = lambda: NIGHT
    process.run()
    process.judge._policies = lambda: type(NIGHT)(NIGHT.everywhere)
    process.judge.advance(NOW)
    assert not process.judge.knows("hub")


def test_of_the_weeks_before_it_is_remembered_where_and_when_somebody_was(site: Site) -> None:
    hours = [access(-86_400 * day + 3600 * hour) for day in range(9, 2, -1) for hour in range(4) for _ in range(9)]
    many = [msgspec.structs.replace(read, at=read.at + timedelta(seconds=n)) for n, read in enumerate(hours)]
    site.process(ListSource(many, at_once=len(many))).run()
    later = NOW + timedelta(days=3)
    days = [each.at.date() for _, accesses in remembered(site.trail_directory, "hub", later) for each in accesses]
    assert sorted(set(days)) == sorted({read.at.date() for read in many})
    assert len(days) < len(many) / 5


@pytest.mark.attack
def test_a_reader_who_destroys_the_secret_afterwards_stays_recorded(site: Site) -> None:
    read = access(-86_400 * 9)
    ends = [msgspec.structs.replace(read, at=read.at + timedelta(hours=n), action=DESTROY) for n in (1, 2, 26)]
    refused = msgspec.structs.replace(ends[-1], at=ends[-1].at + timedelta(hours=1), denied=True)
    site.process(ListSource([read, *ends, refused])).run()
    later = NOW + timedelta(days=3)
    known = [each for _, accesses in remembered(site.trail_directory, "hub", later) for each in accesses]
    assert known == [read, ends[1], ends[2]]


def test_a_reaction_that_fails_is_counted_and_tells_what_it_could_not_tell() -> None:
    memory, failures = ToldMemory(TableHub()), list[int]()  # type: ignore[arg-type]
    siren, down = Siren(), [Unavailable("tell", "somebody", "it is down")]

    class Failing(Siren):
        def react(self, alerts: Sequence[Alert]) -> None:
            if down:
                raise down.pop()
            siren.react(alerts)

    once = TellOnce(Failing(), memory, failed=lambda: failures.append(1))
    with pytest.raises(Unavailable):
        once.react([BEGUN])
    once.react([BEGUN])
    once.react([BEGUN])
    assert len(failures) == len(siren.told) == 1
