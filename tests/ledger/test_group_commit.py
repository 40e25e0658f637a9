"""Group commit."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from keyturn.core.errors import Unrecorded
from keyturn.ledger.storage.group_commit import GroupCommit
from tests.support.hooks import eventually


class Writing:
    """Takes its first call and waits until it may go on; the calls after it come together."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[list[str]] = []
        self.go_on = Event()
        self._error = error

    def __call__(self, texts: Sequence[str]) -> None:
        self.calls.append(list(texts))
        if len(self.calls) == 1:
            assert self.go_on.wait(30)
        elif self._error:
            raise self._error


def test_those_who_come_while_another_writes_are_written_together() -> None:
    writing = Writing()
    together = GroupCommit(writing)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(together.add, ["first"])
        assert eventually(lambda: writing.calls)
        others = [pool.submit(together.add, [f"{number}a", f"{number}b"]) for number in range(4)]
        assert eventually(lambda: len(together._waiting) == 4)
        writing.go_on.set()
        assert [one.result(30) for one in (first, *others)] == [None] * 5
    assert writing.calls[0] == ["first"]
    assert sorted(writing.calls[1]) == [f"{number}{letter}" for number in range(4) for letter in "ab"]
    assert len(writing.calls) == 2
    assert all(writing.calls[1][at + 1] == writing.calls[1][at][0] + "b" for at in range(0, 8, 2))


def test_each_of_those_that_failed_together_is_told_by_an_error_of_its_own() -> None:
    writing = Writing(Unrecorded("write", "the ledger", "the disk is full", "Make room on it"))
    together = GroupCommit(writing)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(together.add, ["first"])
        assert eventually(lambda: writing.calls)
        others = [pool.submit(together.add, ["x"]) for _ in range(2)]
        assert eventually(lambda: len(together._waiting) == 2)
        writing.go_on.set()
        assert first.exception(30) is None
        errors = [one.exception(30) for one in others]
    assert [str(error) for error in errors] == ["write the ledger: the disk is full. Make room on it"] * 2
    assert errors[0] is not errors[1]


def test_whoever_waited_for_one_that_was_interrupted_is_told() -> None:
    writing = Writing(KeyboardInterrupt())  # type: ignore[arg-type]
    together = GroupCommit(writing)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(together.add, ["first"])
        assert eventually(lambda: writing.calls)
        others = [pool.submit(together.add, ["x"]) for _ in range(2)]
        assert eventually(lambda: len(together._waiting) == 2)
        writing.go_on.set()
        assert first.exception(30) is None
        kinds = {type(one.exception(30)) for one in others}
    assert kinds == {KeyboardInterrupt, Unrecorded}
    with pytest.raises(KeyboardInterrupt):
        together.add(["again"])
