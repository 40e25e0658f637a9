"""Parts of `keyturn serve`: a failed one is reported and restarted, without delaying others."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keyturn.core.errors import Conflict, Unavailable
from keyturn.serving import leases, parts, supervisor
from keyturn.serving.leases import PartLease, load_lease
from keyturn.serving.parts import Part, Tenure
from keyturn.serving.supervisor import Supervisor
from tests.support.lab import Lab, fresh

PATIENCE = 30


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it in fractions of a second."""
    for module, name, seconds in (
        (supervisor, "RENEW", 0.05),
        (supervisor, "WATCH", 0.05),
        (supervisor, "TICK", 0.05),
        (leases, "LAPSE", 30.0),
        (parts, "SAFE", 20.0),
        (supervisor, "wait_after", lambda failures: 0.05 * failures),
    ):
        monkeypatch.setattr(module, name, seconds)


class Working:
    """A part that notes its tenures; ``fails`` is raised by the first ones."""

    def __init__(self, *fails: Exception) -> None:
        self.name = fresh()
        self.tenures = list[Tenure]()
        self._fails = list(fails)
        self._at_work: Tenure | None = None

    def run(self, tenure: Tenure) -> None:
        self.tenures.append(tenure)
        if self._fails:
            raise self._fails.pop(0)
        self._at_work = tenure
        tenure.ended.wait(PATIENCE)

    @property
    def works(self) -> bool:
        return self._at_work is not None and self._at_work is self.tenures[-1] and not self._at_work.over


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def supervised(lab: Lab, *made: Part, holder: str = "here") -> Iterator[tuple[Supervisor, list[str]]]:
    """A supervisor at work over these parts, and what it says; ended as a signal ends it."""
    lines, stop = list[str](), threading.Event()
    running = Supervisor(made, lambda part: PartLease(lab.hub, part, holder), lines.append)
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        yield running, lines
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_part_that_fails_is_told_once_and_begun_anew_and_the_others_go_on(lab: Lab) -> None:
    refusal = Unavailable("read", "a log", "it is\nnot there", "Make it")
    failing, other = Working(*[refusal] * 3, ValueError("s3cret")), Working()
    with supervised(lab, failing, other) as (running, lines):
        until(lambda: failing.works and other.works)
        assert len(other.tenures) == 1
        assert [tenure.number for tenure in failing.tenures] == [1, 2, 3, 4, 5]
        until(lambda: all(state.running for state in running.states().values()))
    told = [line for line in lines if line.startswith(f"error: {failing.name}: ")]
    assert len(told) == 2
    assert "read a log: it is not there. Make it" in told[0]
    assert "unexpected ValueError" in told[1]
    assert "s3cret" not in "".join(lines)


def test_that_a_part_works_again_is_told_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WELL", 0.2)
    failing, other = Working(Unavailable("write", "a disk", "it is full")), Working()
    with supervised(lab, failing, other) as (running, lines):
        until(lambda: f"{failing.name}: works again" in lines)
        assert running.states()[failing.name].failures == 0
        until(lambda: len(other.tenures) == 1 and other.works)
    assert [line for line in lines if "works again" in line] == [f"{failing.name}: works again"]


def test_whoever_can_not_do_it_lets_another_and_is_well(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    failing, twin = Working(*[Unavailable("read", "a log", "it is not on this machine")] * 50), Working()
    twin.name = failing.name
    with supervised(lab, failing, holder="without") as (without, _):
        until(lambda: without.states()[failing.name].failures)
        assert not without.states()[failing.name].well
        with supervised(lab, twin, holder="with"):
            until(lambda: twin.works)
            until(lambda: without.states()[failing.name].well)


def test_at_the_end_leases_are_given_back_at_once(lab: Lab) -> None:
    part = Working()
    with supervised(lab, part):
        until(lambda: part.works)
        assert load_lease(lab.hub, part.name).holder == "here"
    assert load_lease(lab.hub, part.name).holder == ""
    assert part.tenures[-1].ended.is_set()


def test_a_part_is_at_work_in_one_process_and_the_other_takes_it_over(lab: Lab) -> None:
    part, twin = Working(), Working()
    twin.name = part.name
    with supervised(lab, part, holder="first"):
        until(lambda: part.works)
        with supervised(lab, twin, holder="second") as (other, _):
            until(lambda: other.states()[part.name].looked)
            assert not twin.tenures
            assert other.states()[part.name].well
            until(lambda: give_to_second(lab, part.name))
            until(lambda: twin.works and part.tenures[-1].ended.is_set())
            assert twin.tenures[0].number == 8


def give_to_second(lab: Lab, part: str) -> bool:
    """Put the lease into the second one's hand, unless its holder has renewed it at that moment."""
    over = load_lease(lab.hub, part).version
    try:
        lab.hub.write_state(f"{leases.SERVE}/{part}", leases.LeaseState("second", "b", 7).to_data(), cas=over)
    except Conflict:
        return False
    return True


def test_while_the_hub_does_not_answer_parts_pause_and_go_on_by_themselves(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Working()
    monkeypatch.setattr(parts, "SAFE", 0.5)

    def down(*_: Any, **__: Any) -> Any:
        raise Unavailable("read", "the hub", "it does not answer")

    with supervised(lab, part) as (running, lines):
        until(lambda: part.works)
        with monkeypatch.context() as patch:
            patch.setattr(lab.hub, "write_state", down)
            patch.setattr(lab.hub, "read_state", down)
            until(lambda: not running.states()[part.name].running)
            assert part.tenures[-1].ended.is_set()
            tenures = len(part.tenures)
        until(lambda: len(part.tenures) > tenures and part.works)
    assert sum("does not answer" in line for line in lines) <= 2
    assert any("the hub answers again" in line for line in lines)


def test_a_part_that_hangs_holds_up_no_other_and_keeps_its_lease_to_the_end(lab: Lab) -> None:
    released = threading.Event()

    class Hanging(Working):
        def run(self, tenure: Tenure) -> None:
            self.tenures.append(tenure)
            released.wait(PATIENCE)

    hanging, other, stop = Hanging(), Working(), threading.Event()
    running = Supervisor([hanging, other], lambda part: PartLease(lab.hub, part, "here"), lambda line: None)
    thread = threading.Thread(target=running.run, args=(stop, 0.2))
    thread.start()
    until(lambda: hanging.tenures and other.works)
    stop.set()
    thread.join(PATIENCE)
    assert load_lease(lab.hub, hanging.name).holder == "here", "it may be writing still"
    assert load_lease(lab.hub, other.name).holder == ""
    released.set()
    until(lambda: load_lease(lab.hub, hanging.name).holder == "")
