"""A protocol is said once, and each runner carries out what it asks for."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyturn.core.errors import KeyturnError, TerminalError, Unavailable
from keyturn.core.ports.conductor import Conductor, SideBySide, Step, Verb, conduct, take_side_by_side

DOWN = Unavailable("copy", "b", "it is down", "Wait")


def copy(log: list[str], name: str, *, times: int = 1) -> str:
    """Write down that it was copied. Raises Unavailable for ``b``."""
    if name == "b":
        raise DOWN
    if name == "bug":
        raise ZeroDivisionError("a value could stand here")
    log.append(name * times)
    return name.upper()


COPY = Verb("copy", copy)


def take(log: list[str], step: Step) -> object:
    return step.verb.body(log, *step.arguments, **step.options)


def conducted(protocol: Conductor[str]) -> tuple[str, list[str]]:
    """What a protocol returned, and what it had done."""
    log: list[str] = []
    return conduct(protocol, lambda step: take(log, step)), log


def test_each_step_gets_what_the_one_before_it_returned() -> None:
    def protocol() -> Conductor[str]:
        first = yield from COPY("a")
        return (yield from COPY(first, times=2))

    assert conducted(protocol()) == ("A", ["a", "AA"])


def test_a_step_that_fails_raises_where_the_protocol_asked_for_it() -> None:
    def protocol() -> Conductor[str]:
        try:
            return (yield from COPY("b"))
        except Unavailable as error:
            yield from COPY("c")
            return error.problem

    assert conducted(protocol()) == ("it is down", ["c"])


def test_what_a_protocol_does_not_answer_leaves_it() -> None:
    closed: list[str] = []

    @contextmanager
    def closing() -> Iterator[None]:
        try:
            yield
        finally:
            closed.append("closed")

    def protocol() -> Conductor[str]:
        with closing():
            return (yield from COPY("b"))

    with pytest.raises(Unavailable):
        conducted(protocol())
    assert closed == ["closed"]


def test_of_steps_side_by_side_each_failure_is_a_result_of_its_own_and_tells_no_value() -> None:
    def twice(name: str) -> Conductor[str]:
        return (yield from COPY((yield from COPY(name))))

    def protocol() -> Conductor[str]:
        results = yield from take_side_by_side([twice("a"), COPY("b"), COPY("bug"), COPY("c")])
        assert results[:2] == ["A", DOWN]
        assert isinstance(results[2], TerminalError)
        assert "ZeroDivisionError" in results[2].problem
        assert "value could" not in str(results[2])
        return ", ".join(one for one in results if not isinstance(one, KeyturnError))

    assert conducted(protocol()) == ("A, C", ["a", "A", "c"])


def test_a_runner_of_its_own_sees_names_and_arguments_alone() -> None:
    asked = next(COPY("a", times=3))
    assert isinstance(asked, Step)
    assert (asked.verb.name, asked.arguments, asked.options) == ("copy", ("a",), {"times": 3})
    together = next(take_side_by_side([COPY("a"), COPY("b")], at_once=1))
    assert isinstance(together, SideBySide)
    assert (len(together.protocols), together.at_once) == (2, 1)
