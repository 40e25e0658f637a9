"""Every reaction gets every alert, whatever becomes of the others."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from keyturn.access_log.detection.alerts import Alert, Stage
from keyturn.access_log.reactions import worker as module
from keyturn.access_log.reactions.reactions import Reactions
from keyturn.core.errors import Invalid, Unavailable
from tests.access_log.reactions.samples import Recorder, alert, complete
from tests.support.hooks import eventually

DOWN = Unavailable("tell", "somebody", "it is down")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.005)


@contextmanager
def running(*reactions: Recorder, messages: list[str] | None = None) -> Iterator[Reactions]:
    running = Reactions(reactions, (messages if messages is not None else []).append, chance=lambda: 0.0)
    yield running
    running.close(0)


def failing(times: int, error: Exception) -> Recorder:
    """It fails so often, and works then."""
    failures = iter([error] * times)

    def fail(alerts: Sequence[Alert]) -> None:
        if failure := next(failures, None):
            raise failure

    return Recorder("failing", before=fail)


def test_one_that_fails_is_tried_again_and_holds_up_no_other() -> None:
    messages = list[str]()
    fails, works = failing(3, DOWN), Recorder()
    with running(fails, works, messages=messages) as reactions:
        reactions.take([alert("a1"), alert("a2")])
        assert reactions.settle(10)
    assert fails.given == works.given == ["a1", "a2"]
    assert messages == ["failing: tell somebody: it is down", "failing: works again, after 3 failures"]


def test_one_that_hangs_holds_up_no_other_and_no_more_calls_of_it_are_made_than_may_hang() -> None:
    let_go, begun = threading.Event(), list[int]()

    def hang(alerts: Sequence[Alert]) -> None:
        begun.append(len(alerts))
        let_go.wait(30)

    hangs, works = Recorder("hangs", patience=0.01, before=hang), Recorder()
    with running(hangs, works) as reactions:
        reactions.take([alert("a1")])
        assert eventually(lambda: works.given == ["a1"])
        assert eventually(lambda: "calls of it hang" in reactions.status()[0].problem)
        assert len(begun) == module.ABANDONED
        let_go.set()
        assert reactions.settle(10)


def test_an_alert_that_is_refused_for_good_holds_up_no_other() -> None:
    def refuse(alerts: Sequence[Alert]) -> None:
        if any(alert.id == "bad" for alert in alerts):
            raise Invalid("tell", "somebody", "it is too long")

    picky = Recorder("picky", before=refuse)
    with running(picky) as reactions:
        reactions.take([alert("a1"), alert("bad"), alert("a2")])
        assert eventually(lambda: {"a1", "a2"} <= set(picky.given))
        assert reactions.status()[0].waiting == 1


def test_what_is_not_foreseen_is_told_by_its_class_alone() -> None:
    messages = list[str]()
    with running(failing(1, RuntimeError("hunter2")), messages=messages) as reactions:
        reactions.take([alert()])
        assert reactions.settle(10)
    assert "RuntimeError" in messages[0]
    assert "hunter2" not in "".join(messages)


def test_an_alert_that_comes_twice_is_dealt_with_once_and_each_stage_of_it() -> None:
    works = Recorder()
    with running(works) as reactions:
        raised = [alert(stage=Stage.RAISED, count=count) for count in (2, 3)]
        for _ in range(2):
            reactions.take([alert(), *raised, complete()])
        assert reactions.settle(10)
    assert works.given == ["a1"] * 4


def test_what_waits_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    messages, works = list[str](), threading.Event()

    def fail(alerts: Sequence[Alert]) -> None:
        if not works.is_set():
            raise DOWN

    slow = Recorder("slow", before=fail)
    with running(slow, messages=messages) as reactions:
        reactions.take([alert(f"a{n}") for n in range(5)])
        assert (reactions.status()[0].waiting, reactions.status()[0].dropped) == (3, 2)
        works.set()
        assert reactions.settle(10)
    assert slow.given == ["a2", "a3", "a4"]
    assert any("the oldest are dropped" in message for message in messages)


def test_what_comes_too_fast_is_given_together() -> None:
    paced = Recorder("paced", burst=2, pace=0.2)
    with running(paced) as reactions:
        for calls in (1, 2):
            reactions.take([alert(f"a{calls}")])
            assert eventually(lambda: sum(map(len, paced.calls)) == calls)  # noqa: B023  asked within the loop
        reactions.take([alert(f"a{n}") for n in range(3, 5)])
        reactions.take([alert(f"a{n}") for n in range(5, 7)])
        assert reactions.settle(10)
    assert paced.calls == [["a1"], ["a2"], ["a3", "a4", "a5", "a6"]]
