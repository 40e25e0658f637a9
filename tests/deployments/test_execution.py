"""Prefect's run supervision is prepared before each run starts."""

import asyncio
import gc
import weakref
from collections.abc import Coroutine
from typing import Any

import pytest

from keyturn.project.worker import execution
from keyturn.project.worker.execution import Contexts
from tests.support.hooks import eventually


class Counted:
    """A context that tells how many of its kind have been entered and left."""

    entered = left = 0

    def __init__(self) -> None:
        self.ring = self

    async def __aenter__(self) -> "Counted":
        Counted.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        Counted.left += 1


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "FlowRunExecutorContext", Counted)
    monkeypatch.setattr(Counted, "entered", 0)
    monkeypatch.setattr(Counted, "left", 0)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def entered(number: int) -> None:
    """Return once so many have been."""
    assert await asyncio.to_thread(eventually, lambda: Counted.entered >= number)


def test_the_next_one_is_entered_once_a_run_has_had_its_time_to_begin() -> None:
    async def take() -> None:
        contexts = Contexts()
        contexts.prepare()
        await entered(1)
        async with contexts.take():
            assert Counted.entered == 1
            await entered(2)
        assert Counted.left == 1
        await contexts.close()
        assert (Counted.entered, Counted.left) == (2, 2)

    run(take())


def test_a_run_that_follows_at_once_enters_its_own() -> None:
    async def take() -> None:
        contexts = Contexts()
        async with contexts.take(), contexts.take():
            assert Counted.entered == 2
        assert Counted.left == 2
        await contexts.close()

    run(take())


def test_what_watched_over_a_run_is_let_go_of_once_the_next_has_ended() -> None:
    async def two() -> None:
        contexts = Contexts()
        async with contexts.take() as first:
            watched = weakref.ref(first)
        del first
        async with contexts.take():
            pass
        assert watched() is None
        await contexts.close()

    gc.disable()
    try:
        run(two())
    finally:
        gc.enable()


def test_a_worker_that_stops_enters_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "LATER", 0.01)

    async def stop() -> None:
        contexts = Contexts()
        async with contexts.take():
            await contexts.close()
            await asyncio.sleep(0.1)
        assert (Counted.entered, Counted.left) == (1, 1)

    run(stop())
