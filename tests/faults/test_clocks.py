"""Clocks that are ten minutes wrong: they move when something is due, and nothing else.

Commands and workers correct theirs by the hub's; the workers of these tests are given a clock that is not corrected.

Order is decided by versions and numbers, who goes on after a crash by the hub's clock.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from standardwebhooks import webhooks

from keyturn.catalogue import load_catalogue
from keyturn.core.errors import Conflict, Superseded
from keyturn.core.schedule.due import Trigger
from keyturn.revocation.incidents.store import load_incident
from keyturn.rotation import steps
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from tests.faults.outcome import assert_healed, assert_never_refused
from tests.faults.shell import Shell
from tests.rotation.helpers import Worker, worker
from tests.support.application import Patient
from tests.support.consumer import Consumer
from tests.support.hooks import ELSEWHERE, eventually
from tests.support.lab import INTERVAL, Declared, Lab

pytestmark = pytest.mark.sampled(4, of="file")

OFF = timedelta(minutes=10)

LATENCY = timedelta(seconds=10)
"""More than the hub's whole seconds and a slow machine make of a moment."""

AHEAD, BEHIND = [pytest.param(sign * OFF, id=name) for sign, name in ((1, "ahead"), (-1, "behind"))]

FAR = pytest.param(timedelta(hours=-3), id="far-behind")


def wrong(lab: Lab, secret: Declared, off: timedelta, holder: str | None = None) -> Workspace:
    """A worker of its own, whose clock is ``off``."""
    workspace = worker(lab, secret, holder).workspace
    return replace(workspace, clock=lambda: datetime.now(UTC) + off)


@pytest.mark.parametrize("off", [AHEAD, BEHIND])
def test_workers_whose_clocks_differ_take_turns_and_order_holds(lab: Lab, off: timedelta) -> None:
    secret = lab.alternating()
    workers = [wrong(lab, secret, off), wrong(lab, secret, -off), wrong(lab, secret, timedelta(0))]
    sequences = []
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        for number, workspace in enumerate(workers, start=2):
            assert rotate(workspace, secret.path, Trigger.FORCE, end_previous=True).state is RunState.ROTATED
            rotation = worker(lab, secret).record().retiring
            assert rotation is not None
            sequences.append(rotation.sequence)
            assert rotation.version == number
            assert lab.logs_in(lab.current(secret))
        assert eventually(lambda: not retire(workers[0], secret.path).held_by or retire(workers[1], secret.path))
    assert sequences == sorted(sequences)
    assert_never_refused(client)


@pytest.mark.parametrize("off", [AHEAD, BEHIND])
def test_a_late_worker_is_late_whatever_its_clock_says(lab: Lab, off: timedelta) -> None:
    secret = lab.alternating()
    late = Worker(wrong(lab, secret, off, holder="that-is/2/2"), secret.path)
    attempt = late.verified()
    newer = replace(wrong(lab, secret, -off), patience=0.0)
    assert rotate(newer, secret.path).state is RunState.ROTATED
    for _ in range(2):
        assert rotate(newer, secret.path, Trigger.FORCE, end_previous=True).state is RunState.ROTATED
    current = lab.current(secret)
    for write in (steps.install, steps.promote):
        with pytest.raises((Superseded, Conflict)):
            write(late.workspace, attempt)
    assert lab.current(secret) == current
    assert lab.logs_in(current)


@pytest.mark.parametrize("off", [AHEAD, BEHIND])
def test_a_holder_elsewhere_is_given_its_time_by_the_hubs_clock(lab: Lab, off: timedelta) -> None:
    secret = lab.alternating()
    Worker(wrong(lab, secret, -off, holder=ELSEWHERE), secret.path).staged()
    workspace = wrong(lab, secret, off)
    assert rotate(workspace, secret.path).state is RunState.HELD
    assert_healed(lab, replace(workspace, patience=0.0), secret)


def test_when_a_secret_is_due_moves_by_as_much_as_the_clock_is_wrong(lab: Lab) -> None:
    secret = lab.alternating()
    told = lab.hub.describe(secret.path)
    assert told is not None
    assert told.rotated_at is not None
    due = told.rotated_at + INTERVAL - datetime.now(UTC)
    late, early = due - OFF, due + OFF
    workspace = wrong(lab, secret, late)
    assert rotate(workspace, secret.path).state is RunState.NOT_DUE
    # To others it is as if time went backwards: that makes nothing due.
    assert rotate(wrong(lab, secret, early), secret.path).state is RunState.ROTATED
    assert eventually(lambda: retire(wrong(lab, secret, early), secret.path).retired)
    assert rotate(workspace, secret.path).state is RunState.NOT_DUE
    assert lab.logs_in(lab.current(secret))


@pytest.mark.parametrize("off", [AHEAD, BEHIND])
def test_a_suspicion_is_remembered_though_the_clock_that_wrote_it_down_is_wrong(lab: Lab, off: timedelta) -> None:
    """The run dies right after somebody has said that others may know the credential."""
    secret = lab.alternating()
    assert rotate(wrong(lab, secret, -off), secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert eventually(lambda: retire(wrong(lab, secret, OFF), secret.path).retired)
    dies = Worker(wrong(lab, secret, off), secret.path).hooking("strategy", preflight=stop)
    with pytest.raises(KeyboardInterrupt):
        rotate(dies.workspace, secret.path, Trigger.COMPROMISE)
    outcome = rotate(wrong(lab, secret, off), secret.path)
    assert (outcome.state, outcome.message.partition(" since")[0]) == (RunState.ROTATED, "others may know it")


def stop(*_: object) -> None:
    """As a person stops a run."""
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("off", [AHEAD, BEHIND, FAR])
def test_a_notice_is_signed_by_the_hubs_clock_so_consumers_accept_it_from_a_wrong_one(
    lab: Lab, consumer: Consumer, tmp_path: Path, off: timedelta
) -> None:
    """A process whose every clock is wrong, and a consumer that takes no notice older than five minutes."""
    secret = lab.alternating(consumers=("app",))
    shell = Shell(lab, tmp_path)
    catalogue = shell.catalogue(secret, {"app": {"url": consumer.url, "signing_key": consumer.signing_key}})
    ended = shell.run("rotate", secret.path, "--now", "--local", catalogue=catalogue, clock=off.total_seconds())
    assert ended.returncode == 0, ended
    assert consumer.versions(secret.path) == [2]


@pytest.mark.slow
@pytest.mark.parametrize("off", [AHEAD, BEHIND])
def test_a_consumer_whose_own_clock_is_wrong_refuses_a_notice_and_is_named_with_it(
    lab: Lab, consumer: Consumer, tmp_path: Path, off: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wrong":
            return super().now(tz) + off

    secret = lab.alternating(consumers=("app",))
    shell = Shell(lab, tmp_path)
    catalogue = shell.catalogue(secret, {"app": {"url": consumer.url, "signing_key": consumer.signing_key}})
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        with monkeypatch.context() as wrongly:
            wrongly.setattr(webhooks, "datetime", Wrong)
            consumer.clock_ahead = off.total_seconds()
            ended = shell.run("rotate", secret.path, "--now", "--local", catalogue=catalogue)
        assert ended.returncode == 3, ended
        apart = "ahead of" if off > timedelta(0) else "behind"
        assert "notify app: answered 401, and its clock is " in ended.stderr
        assert (
            f" s {apart} the one here. A notice is good for five minutes: set the clock that is wrong" in ended.stderr
        )
        assert "Traceback" not in ended.stderr
        assert lab.current(secret)["username"] == secret.users[1]
        assert consumer.versions(secret.path) == []
        assert lab.logs_in(secret.first)
        consumer.clock_ahead = 0.0
        assert_healed(lab, open_workspace(load_catalogue(catalogue, {}), lab.hub), secret)
        assert consumer.versions(secret.path) == [2]
    assert_never_refused(client)


@pytest.mark.parametrize("off", [AHEAD, BEHIND])
def test_an_incident_is_timed_by_the_hubs_clock_and_a_wrong_clock_is_reported(
    lab: Lab, tmp_path: Path, off: timedelta
) -> None:
    secret = lab.alternating()
    shell, name = Shell(lab, tmp_path), f"INC-{secret.users[0]}"
    catalogue = shell.catalogue(secret)
    began = datetime.now(UTC) - LATENCY
    revoke = ("revoke", secret.path, "--reason", "leaked", "--incident", name, "--local", "--json")
    ended = shell.run(*revoke, catalogue=catalogue, clock=off.total_seconds())
    assert ended.returncode == 3, ended.stderr  # the catalogue's store can't be looked at here
    side = "ahead of" if off > timedelta(0) else "behind"
    assert f"WARNING: this machine's clock is 600 s {side} the hub's" in ended.stderr.replace("599 s", "600 s")
    incident = load_incident(lab.open(secret).workspace, name)
    moments = [incident.triggered_at, incident.opened_at, incident.closed_at, *(event.at for event in incident.events)]
    assert all(began <= moment <= datetime.now(UTC) + LATENCY for moment in moments if moment), moments
    told = json.loads(ended.stdout)["secrets"][0]["seconds"]
    assert min(seconds for seconds in told.values() if seconds is not None) >= 0, told


def test_a_command_whose_clock_is_right_says_nothing_of_it(lab: Lab, tmp_path: Path) -> None:
    secret = lab.generated()
    shell = Shell(lab, tmp_path)
    ended = shell.run("rotate", secret.path, "--now", "--local", catalogue=shell.catalogue(secret))
    assert (ended.returncode, "WARNING" in ended.stderr) == (0, False), ended
