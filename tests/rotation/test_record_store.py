"""Who holds a rotation, and how it is taken over."""

import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.core.errors import Locked, Superseded
from keyturn.rotation.state.context import alive, this_process
from keyturn.rotation.state.record_store import claim, load_record, open_by
from tests.rotation.helpers import Worker, worker
from tests.support.hooks import ELSEWHERE, Once, dead_holder
from tests.support.lab import Declared, Lab

HOST = socket.gethostname()


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.generated()


# --- telling the living from the dead ----------------------------------------------------------------------


def test_this_process_is_alive() -> None:
    assert alive(this_process()) is True


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["a pid used again", "no such pid"])
def test_a_process_that_is_gone_is_told_even_when_its_pid_is_used_again(pid: int) -> None:
    assert alive(f"{HOST}/{pid}/1") is False


def test_of_a_process_on_another_host_nobody_can_tell() -> None:
    assert alive(ELSEWHERE) is None


def test_a_process_that_ended_and_waits_for_its_parent_is_dead() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text()
        holder = f"{HOST}/{child.pid}/{stat.rpartition(')')[2].split()[19]}"
        assert alive(holder) is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert alive(holder) is False


# --- taking over -------------------------------------------------------------------------------------------


def test_a_living_holder_keeps_its_rotation_and_is_named(lab: Lab, secret: Declared) -> None:
    worker(lab, secret).staged()
    with pytest.raises(Locked, match=f"is held by process {os.getpid()} on {HOST}.*continues by itself"):
        worker(lab, secret, ELSEWHERE).staged()


def test_a_dead_holder_on_this_host_is_followed_at_once(lab: Lab, secret: Declared) -> None:
    candidate = worker(lab, secret, dead_holder()).staged().candidate
    run = worker(lab, secret)
    assert run.staged().candidate == candidate
    record = run.record()
    assert record.open is not None
    assert record.open.holder == this_process()


def test_a_holder_on_another_host_is_given_time(lab: Lab, secret: Declared) -> None:
    candidate = worker(lab, secret, ELSEWHERE).staged().candidate
    run = worker(lab, secret)
    with pytest.raises(Locked, match="held by process 1 on another-host"):
        run.staged()
    hasty = Worker(replace(run.workspace, patience=0.0), secret.path)
    assert hasty.staged().candidate == candidate


def test_of_two_that_take_over_at_once_one_gets_it(lab: Lab, secret: Declared) -> None:
    worker(lab, secret, dead_holder()).staged()
    quick, slow = worker(lab, secret, "quick/1/1"), worker(lab, secret)
    slow = slow.hooking("hub", write_state=Once(lambda: quick.staged()))
    with pytest.raises(Locked):
        slow.staged()
    record = quick.record()
    assert record.open is not None
    assert record.open.holder == "quick/1/1"


def test_a_holder_that_was_followed_is_held_off(lab: Lab, secret: Declared) -> None:
    stale = worker(lab, secret, dead_holder())
    token = stale.staged().rotation.token
    worker(lab, secret).staged()
    with pytest.raises(Locked):
        open_by(stale.workspace, secret.path, token)


def test_a_step_of_a_rotation_that_is_over_is_superseded(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    with pytest.raises(Superseded):
        open_by(run.workspace, secret.path, "never-was")
    token = run.staged().rotation.token
    assert open_by(run.workspace, secret.path, token).open is not None


def test_claiming_what_nobody_holds_changes_nothing(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    empty = load_record(run.workspace, secret.path)
    assert claim(run.workspace, secret.path, empty) is empty
    held = run.staged().record
    assert claim(run.workspace, secret.path, held) is held
