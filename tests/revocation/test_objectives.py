"""Time to dead: measured by incidents, drills and rehearsals at the real hub and database."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn.cli.running.numbers import objective_samples
from keyturn.cli.secrets.dashboard import board_of
from keyturn.core.errors import Invalid, Locked, Unavailable, UnsupportedOperation
from keyturn.core.ports.strategies import SHADOW
from keyturn.core.sensitive import Sensitive
from keyturn.pages.dashboard import Level
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.incidents.store import load_incident, update_incident, update_progress
from keyturn.revocation.objectives.measured import EVERY, STATES, MeasuredBy, ObjectiveStatus, objective_statuses
from keyturn.revocation.objectives.record import REHEARSALS, load_rehearsals
from keyturn.revocation.objectives.rehearsing import due_rehearsals, rehearse, shadow_name
from keyturn.revocation.run import begin, finish
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.rotation.state.context import Workspace
from tests.support.lab import Lab
from tests.support.world import World

FAST = timedelta(minutes=1)


def revoke(workspace: Workspace, path: str, incident: str) -> None:
    selector = Selector((path,))
    begin(
        workspace,
        select_secrets(workspace, selector),
        incident=incident,
        reason="a test",
        mode=Mode.REPLACE,
        selector=selector.words,
        triggered_at=workspace.clock(),
    )
    finish(workspace, incident)


def status_of(workspace: Workspace, path: str) -> ObjectiveStatus:
    (status,) = objective_statuses(workspace, [path])
    return status


def shadows(lab: Lab) -> list[tuple[str]]:
    return lab.sql("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", SHADOW)


def test_an_incident_is_measured_from_its_own_record(lab: Lab) -> None:
    declared = lab.alternating(dead_within="60s")
    opened = lab.open(declared)
    revoke(opened.workspace, declared.path, f"INC-{declared.path.rpartition('/')[2]}")
    status = status_of(opened.workspace, declared.path)
    assert status.last is not None
    assert (status.last.by, status.state, status.missed) == (MeasuredBy.INCIDENT, "met", "")
    assert status.last.refused is not None
    assert status.last.sessions is not None
    assert status.last.clear is not None
    assert status.percentile(0.5) == status.percentile(0.95) == status.last.refused


def test_a_rehearsal_measures_the_target_and_touches_nothing_of_the_secret(lab: Lab) -> None:
    declared = lab.alternating(dead_within="60s")
    opened = lab.open(declared)
    before = lab.current(declared)
    marks = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ANY(%s)"
    comments = lab.sql(marks, list(declared.users))
    assert due_rehearsals(opened.workspace, EVERY) == [declared.path]
    result = rehearse(opened.workspace, declared.path)
    assert result.refused is not None
    assert 0 < result.refused < 30
    assert result.sessions is not None
    assert lab.current(declared) == before
    assert lab.logs_in(before)
    assert comments == lab.sql(marks, list(declared.users))
    assert shadows(lab) == []
    assert due_rehearsals(opened.workspace, EVERY) == []
    status = status_of(opened.workspace, declared.path)
    assert status.last is not None
    assert (status.last.by, status.state) == (MeasuredBy.REHEARSAL, "met")
    opened.clock.advance(EVERY)
    assert due_rehearsals(opened.workspace, EVERY) == [declared.path]
    assert status_of(opened.workspace, declared.path).state == "met"
    opened.clock.advance(timedelta(days=2))
    assert status_of(opened.workspace, declared.path).state == "overdue"


class Killed(BaseException):
    """What no step foresees."""


@pytest.mark.parametrize("at", ["accepts", "hold_session", "revoke"])
def test_what_a_killed_rehearsal_leaves_is_removed_by_the_next(
    lab: Lab, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = lab.alternating(dead_within="60s")
    opened = lab.open(declared, holder="elsewhere/1/1")
    real, tries = PostgreSQL.revoke, []

    def dies(*_: Any, **__: Any) -> Any:
        raise Killed

    def dies_later(*args: Any, **rest: Any) -> Any:
        """The first call looks for what an earlier rehearsal left. A killed process removes nothing afterwards."""
        tries.append(at)
        return real(*args, **rest) if len(tries) == 1 else dies()

    with monkeypatch.context() as patched:
        patched.setattr(PostgreSQL, at, dies)
        patched.setattr(PostgreSQL, "revoke", dies_later)
        with pytest.raises(Killed):
            rehearse(opened.workspace, declared.path)
    name = shadow_name(opened.workspace, declared.path)
    assert shadows(lab) == [(name,)]
    entry, _ = load_rehearsals(opened.workspace, declared.path)
    assert (entry.shadow, entry.results) == (name, ())
    other = replace(opened.workspace, holder="another-host/2/2")
    with pytest.raises(Locked, match="rehearses it since"):
        rehearse(other, declared.path)
    opened.clock.advance(timedelta(hours=1))
    assert rehearse(other, declared.path).refused is not None
    assert shadows(lab) == []
    assert load_rehearsals(opened.workspace, declared.path)[0].shadow == ""


def test_a_killed_process_leaves_nothing_that_the_next_rehearsal_does_not_remove(lab: Lab, world: World) -> None:
    declared = lab.alternating(dead_within="60s")
    job = json.dumps({"world": world.to_json(), "declared": asdict(declared)})
    child = [sys.executable, "-m", "tests.revocation.rehearsing_child"]
    died = subprocess.run(child, input=job, text=True, check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    name = shadow_name(lab.open(declared).workspace, declared.path)
    assert lab.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", name) == [(True,)]
    # Its process is seen to be dead, so the next rehearsal need not wait.
    assert rehearse(lab.open(declared).workspace, declared.path).refused is not None
    assert shadows(lab) == []


def test_a_throw_away_account_may_do_nothing_and_no_other_is_dropped(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = lab.alternating(dead_within="60s")
    opened, real, groups = lab.open(declared), PostgreSQL.hold_session, list[tuple[int]]()

    def held(target: PostgreSQL, account: str, password: Sensitive) -> Any:
        members = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = %s"
        groups.extend(lab.sql(members, account))
        return real(target, account, password)

    monkeypatch.setattr(PostgreSQL, "hold_session", held)
    rehearse(opened.workspace, declared.path)
    assert groups == [(0,)]
    with pytest.raises(Invalid, match="it is no account of a rehearsal"):
        lab.target().drop_shadow(declared.users[1])


def test_the_metrics_count_objectives_by_state(lab: Lab) -> None:
    tested, untested = lab.alternating(dead_within="60s"), lab.alternating(dead_within="60s")
    workspace = lab.open(tested, untested, lab.generated()).workspace
    result = rehearse(workspace, tested.path)
    samples = objective_samples(workspace)
    assert samples["revocation_objectives"] == dict.fromkeys(((state,) for state in STATES), 0) | {
        ("met",): 1,
        ("untested",): 0,
        ("overdue",): 1,
    }
    assert samples["revocation_dead_seconds"] == {(): result.refused}
    assert objective_samples(lab.open(lab.generated()).workspace) == {}


def test_the_dashboard_shows_each_objective(lab: Lab) -> None:
    tested, untested = lab.alternating(dead_within="60s"), lab.alternating(dead_within="60s")
    workspace = lab.open(tested, untested, lab.generated()).workspace
    rehearse(workspace, tested.path)
    lines = {line.name: line for line in board_of(workspace).others if line.kind == "time to dead"}
    assert lines.keys() == {tested.path, untested.path}
    assert (lines[tested.path].level, lines[untested.path].level) == (Level.WELL, Level.BAD)
    assert lines[tested.path].state.startswith("met; rehearsal of ")


def test_a_target_that_keeps_accepting_misses_the_objective(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = lab.alternating(dead_within="1s")
    opened = lab.open(declared)
    ticks = iter(range(0, 10_000, 7))
    monkeypatch.setattr(PostgreSQL, "accepts", lambda *_: True)
    still = replace(opened.workspace, sleep=lambda _: None)
    result = rehearse(still, declared.path, timer=lambda: float(next(ticks)))
    assert result.refused is None
    assert result.words.startswith("NOT refused within ")
    status = status_of(opened.workspace, declared.path)
    assert status.state == "missed"
    assert "not refused" in status.missed
    assert shadows(lab) == []


def test_a_kind_that_cannot_be_rehearsed_says_why(lab: Lab) -> None:
    single, generated = lab.single(dead_within="60s"), lab.generated(dead_within="60s")
    opened = lab.open(single, generated)
    for declared, why in ((single, "changed in place"), (generated, "no target that could refuse it")):
        status = status_of(opened.workspace, declared.path)
        assert why in status.unrehearsed
        assert (status.state, status.overdue) == ("untested", "")
        with pytest.raises(UnsupportedOperation, match="it cannot be rehearsed"):
            rehearse(opened.workspace, declared.path)
    assert due_rehearsals(opened.workspace, EVERY) == []


def test_a_rehearsal_waits_for_the_end_of_a_freeze(lab: Lab) -> None:
    declared = lab.alternating(dead_within="60s")
    opened = lab.open(declared)
    now = opened.workspace.clock()
    times = {"from": f"{now - FAST:%Y-%m-%dT%H:%M}", "to": f"{now + 2 * FAST:%Y-%m-%dT%H:%M}", "timezone": "UTC"}
    freeze = {**times, "reason": "a test", "paths": [declared.path]}
    catalogue = type(opened.workspace.catalogue).model_validate(
        {**opened.workspace.catalogue.model_dump(by_alias=True), "freezes": {"now": freeze}}
    )
    assert due_rehearsals(replace(opened.workspace, catalogue=catalogue), EVERY) == []


def test_a_record_that_cannot_be_read_is_unknown_and_not_met(lab: Lab) -> None:
    declared, other = lab.alternating(dead_within="60s"), lab.alternating(dead_within="60s")
    opened = lab.open(declared, other)
    lab.keep(f"{REHEARSALS}/{declared.path}", {"rehearsals": "[]"})
    assert due_rehearsals(opened.workspace, EVERY) == sorted([declared.path, other.path])
    with pytest.raises(Invalid, match="it is not an entry of rehearsals"):
        rehearse(opened.workspace, declared.path)
    status = status_of(opened.workspace, declared.path)
    assert (status.state, status.overdue) == ("unknown", "")
    assert "it is not an entry of rehearsals" in status.why


def test_nothing_is_created_while_the_ledger_is_down(lab: Lab) -> None:
    declared = lab.alternating(dead_within="60s")
    opened = lab.open(declared)

    class Down:
        def __getattr__(self, name: str) -> Any:
            def refuse(*_: Any, **__: Any) -> Any:
                raise Unavailable("write", "the ledger", "it is down", "Start it")

            return refuse

    down: Any = Down()
    with pytest.raises(Exception, match="it is down"):
        rehearse(replace(opened.workspace, ledger=down), declared.path)
    assert shadows(lab) == []
    assert load_rehearsals(opened.workspace, declared.path)[0].shadow == ""


def test_a_credential_that_another_incident_had_ended_is_no_measurement(lab: Lab) -> None:
    declared = lab.alternating(dead_within="60s")
    opened, incident = lab.open(declared), f"INC-{declared.path.rpartition('/')[2]}"
    revoke(opened.workspace, declared.path, incident)
    earlier = opened.workspace.clock() - timedelta(hours=1)
    head = load_incident(opened.workspace, incident)
    update_progress(opened.workspace, head, declared.path, lambda progress: progress.having(refused_at=earlier))
    assert status_of(opened.workspace, declared.path).measurements == ()


def test_an_open_incident_that_saw_no_refusal_misses_the_objective(lab: Lab) -> None:
    declared = lab.alternating(dead_within="60s")
    opened, incident = lab.open(declared), f"INC-{declared.path.rpartition('/')[2]}"
    revoke(opened.workspace, declared.path, incident)
    head = load_incident(opened.workspace, incident)
    update_progress(opened.workspace, head, declared.path, lambda progress: progress.having(refused_at=None))
    assert status_of(opened.workspace, declared.path).measurements == ()
    update_incident(opened.workspace, incident, lambda closed: replace(closed, closed_at=None))
    assert status_of(opened.workspace, declared.path).state == "met"
    opened.clock.advance(timedelta(minutes=2))
    late = status_of(opened.workspace, declared.path)
    update_incident(opened.workspace, incident, lambda reopened: replace(reopened, closed_at=head.closed_at))
    assert (late.state, "not refused" in late.missed) == ("missed", True)
