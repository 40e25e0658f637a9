"""The database goes away, comes back, fails over, or is read-only, in the middle of a rotation."""

import dataclasses
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.postgresql.target import TIMEOUT
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from tests.faults.outcome import assert_healed, assert_never_refused, candidate
from tests.faults.servers import Database
from tests.rotation.helpers import Worker, worker
from tests.support.application import Patient
from tests.support.hooks import Once, eventually
from tests.support.lab import Declared, Lab

pytestmark = pytest.mark.sampled(4, of="file")

DOWN = r"the server does not answer(: the connection is refused)?\. Check the target's host and port"
READ_ONLY = "the server is read-only. Point the target at the primary"


def application(lab: Lab, secret: Declared) -> Patient:
    """Logs in at the database whenever that answers."""
    return Patient(lab.hub, secret.path, lab.logs_in)


@pytest.mark.parametrize("before", ["install", "verify"])
def test_a_target_that_goes_down_is_named_and_the_candidate_waits_for_it(database: Database, before: str) -> None:
    lab = database.lab
    secret = lab.alternating()
    run = worker(lab, secret)
    with application(lab, secret) as client:
        for attempt in (run.hooking("strategy", **{before: Once(database.down)}), run):
            with pytest.raises(Unavailable, match=DOWN):
                rotate(attempt.workspace, secret.path, Trigger.FORCE)
            assert lab.current(secret) == secret.first
        waiting = candidate(run.workspace, secret.path)
        database.up()
        assert_healed(lab, run.workspace, secret, waiting)
    assert_never_refused(client)


def test_a_target_that_is_down_at_retirement_keeps_the_old_credential_until_it_is_back(database: Database) -> None:
    lab = database.lab
    secret = lab.alternating()
    run = worker(lab, secret)
    with application(lab, secret) as client:
        assert rotate(run.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
        database.down()
        (held,) = retire(run.workspace, secret.path).held_by
        assert held.startswith("its use is unknown: ")
        assert re.search(f"{DOWN}$", held)
        with pytest.raises(Unavailable, match=DOWN):
            retire(run.workspace, secret.path, Waive.EVERYTHING)
        with pytest.raises(Unavailable, match=DOWN):
            rotate(run.workspace, secret.path, Trigger.FORCE)
        retiring = run.record().retiring
        assert retiring is not None
        assert (retiring.stage, retiring.version) == (Stage.RETIRING, 2)
        database.up()
        assert lab.logs_in(secret.first)
        assert_healed(lab, run.workspace, secret)
    assert_never_refused(client)


def test_a_target_that_is_restarted_before_every_step_stops_no_rotation(database: Database) -> None:
    lab = database.lab
    secret = lab.alternating()
    steps = {step: Once(database.restart) for step in ("install", "verify", "retire")}
    run = worker(lab, secret).hooking("strategy", **steps)
    strategy: Any = run.workspace.open_strategy(secret.path)
    with application(lab, secret) as client:
        # From here on the admin has an idle connection, which every restart breaks.
        strategy.target.sessions(secret.users[0])
        assert rotate(run.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
        assert_healed(lab, run.workspace, secret)
    assert_never_refused(client)


def test_a_target_that_dies_within_the_change_itself_has_changed_nothing(database: Database) -> None:
    lab = database.lab
    secret = lab.alternating()
    run = worker(lab, secret)
    lock = f"pg_advisory_lock(hashtextextended('keyturn:{secret.users[1]}', 0))"
    with application(lab, secret) as client, ThreadPoolExecutor() as pool:
        lab.sql(f"SELECT {lock}")
        rotation = pool.submit(rotate, run.workspace, secret.path, Trigger.FORCE)
        assert eventually(lambda: lab.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        database.restart()
        with pytest.raises(Unavailable, match=DOWN):
            rotation.result()
        assert lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", secret.users[1]) == []
        assert_healed(lab, run.workspace, secret, candidate(run.workspace, secret.path))
    assert_never_refused(client)


def test_a_target_that_vanishes_without_a_word_is_asked_for_a_sign_of_life_within_seconds(database: Database) -> None:
    before = set(probes(database.server.port))
    target = database.lab.target()
    target.sessions("postgres")
    made = {inode: timer for inode, timer in probes(database.server.port).items() if inode not in before}
    target.close()
    assert len(made) == 1
    assert 0 < next(iter(made.values())) <= TIMEOUT


def probes(port: int) -> dict[str, float]:
    """For each connection of this process to ``port``, by inode: seconds to the kernel's next probe (see proc(5))."""
    ours = {os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and fd.exists()}
    found = {}
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, _, timer, _, _, _, inode, *_ = line.split()
        kind, _, left = timer.partition(":")
        if remote.endswith(f":{port:04X}") and f"socket:[{inode}]" in ours and kind == "02":
            found[inode] = int(left, 16) / os.sysconf("SC_CLK_TCK")
    return found


@pytest.mark.parametrize("way", ["setting", "replica"])
def test_a_target_that_is_read_only_is_named_with_the_primary_as_the_remedy(database: Database, way: str) -> None:
    lab = database.lab
    secret = lab.alternating()
    run = worker(lab, secret)
    with application(lab, secret) as client:
        database.become_standby() if way == "replica" else database.read_only(on=True)
        with pytest.raises(Unavailable, match=READ_ONLY):
            rotate(run.workspace, secret.path, Trigger.FORCE)
        waiting = candidate(run.workspace, secret.path)
        assert lab.logs_in(lab.current(secret))
        database.become_primary() if way == "replica" else database.read_only(on=False)
        assert_healed(lab, run.workspace, secret, waiting)
    assert_never_refused(client)


def test_a_fail_over_to_a_replica_that_never_heard_of_the_candidate_makes_way_for_another(database: Database) -> None:
    lab = database.lab
    secret = lab.alternating()
    database.keep()
    run = worker(lab, secret).hooking("strategy", verify=Once(database.fall_back))
    with application(lab, secret) as client:
        assert rotate(run.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
        assert [past.refused for past in run.record().history] == [True]
        assert lab.logs_in(lab.current(secret))
        assert eventually(lambda: not retire(run.workspace, secret.path).held_by)
        assert not lab.logs_in(secret.first)
    assert_never_refused(client)


def test_a_target_that_moved_while_a_rotation_was_open_is_refused_until_somebody_forces(database: Database) -> None:
    lab = database.lab
    secret = lab.alternating()
    opened = lab.open(secret).workspace
    Worker(opened, secret.path).installed()
    targets = {"pg": opened.catalogue.target("pg").model_copy(update={"host": "localhost"})}
    catalogue = opened.catalogue.model_copy(update={"targets": targets})
    moved = dataclasses.replace(opened, catalogue=catalogue)
    with application(lab, secret) as client:
        left = candidate(moved, secret.path)
        with pytest.raises(Invalid, match=r"was begun as alternating-users at postgresql 127\.0\.0\.1 .* or let --now"):
            rotate(moved, secret.path)
        assert candidate(moved, secret.path) == left
        assert rotate(moved, secret.path, Trigger.FORCE).state is RunState.ROTATED
        (past,) = load_record(moved, secret.path).history
        assert (past.stage, past.refused) == (Stage.ABANDONED, False)
        assert not SecretFields(lab.current(secret)).holds(left)
        assert lab.logs_in(lab.current(secret))
    assert_never_refused(client)
