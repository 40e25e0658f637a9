"""Runs a protocol with tasks as its steps."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar, cast

from prefect import Task

from keyturn.core.errors import KeyturnError, Missing, unexpected
from keyturn.core.ports.conductor import Conductor, SideBySide, Step

T = TypeVar("T")

Take = Callable[[Step], Awaitable[Any]]


def insist_on_all(needed: Iterable[Task[..., Any]], chain: Sequence[Task[..., Any]]) -> None:
    """Raises Missing for a task that a flow does not chain, before the first step."""
    for task in needed:
        if task not in chain:
            raise Missing("run", f"the step {task.name}", "the flow chains no task for it", "Add it to the flow")


async def conduct(protocol: Conductor[T], take: Take) -> T:
    """:func:`keyturn.core.ports.conductor.conduct` on an event loop. Raises the protocol's final error."""
    try:
        wanted = next(protocol)
        while True:
            try:
                result = await (take(wanted) if isinstance(wanted, Step) else take_together(wanted, take))
            except BaseException as error:  # noqa: BLE001  the protocol handles it or raises it
                wanted = protocol.throw(error)
            else:
                wanted = protocol.send(result)
    except StopIteration as over:
        return cast(T, over.value)


async def take_together(wanted: SideBySide, take: Take) -> list[Any]:
    """The result of each protocol in order; a failure is a result."""
    places = asyncio.Semaphore(wanted.at_once) if wanted.at_once else nullcontext()

    async def each(protocol: Conductor[T]) -> T | KeyturnError:
        async with places:
            try:
                return await conduct(protocol, take)
            except KeyturnError as error:
                return error
            except Exception as error:  # noqa: BLE001  what one suffers from stops no other
                return unexpected(error)

    return list(await asyncio.gather(*map(each, wanted.protocols)))
