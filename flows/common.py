"""What the runbooks share: the opened workspace, the limit per target, and a bounded fan-out."""

import asyncio
import functools
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Flow, flow
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError, concurrency
from prefect.states import Failed

from keyturn.core.errors import KeyturnError, NotFound, TerminalError, unexpected
from keyturn.rotation.context import Keyturn
from tasks.workspace import keyturn, target_limit

SIDE_BY_SIDE: Final = 8
"""Secrets at work at once at one target."""

BATCH: Final = 50
"""Secrets for one task where each needs little work."""

NOWHERE: Final = Path(os.devnull)
"""Where results are kept: nothing can be written below a file. Naming it also spares a look-up of the default."""

T = TypeVar("T")
P = ParamSpec("P")


def runbook(name: str, run_name: str | None = None) -> Callable[[Callable[P, Awaitable[T]]], Flow[P, Awaitable[T]]]:
    """The one decorator of all flows: nothing is persisted, and nothing printed is recorded.

    An error becomes the state's message in its own words; one that is not Keyturn's own is replaced.
    """
    decorated: Callable[[Callable[P, Awaitable[T]]], Flow[P, Awaitable[T]]] = flow(
        name=name, flow_run_name=run_name or name, persist_result=False, result_storage=NOWHERE, log_prints=False
    )

    def decorate(body: Callable[P, Awaitable[T]]) -> Flow[P, Awaitable[T]]:
        @functools.wraps(body)
        async def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return await body(*args, **kwargs)
            except KeyturnError as error:
                return ended(error)
            except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
                return ended(unexpected(error).during(name, str(kwargs.get("path") or "the catalogue")))

        return decorated(run)

    return decorate


def ended(error: KeyturnError) -> Any:
    """The failed state that Prefect shows, and raises as ``error`` where the flow is called from Python."""
    return Failed(message=str(error), data=error)


async def workspace() -> Keyturn:
    """This process's workspace, opened in a thread so that the flow's heartbeat goes on."""
    return await asyncio.to_thread(keyturn)


@asynccontextmanager
async def at_target(target: str | None) -> AsyncIterator[None]:
    """The place of the one fan-out that may work at a target; secrets without a target need none.

    Taken once a run, not once a secret: on SQLite the server often answers a change of slots with 503 while
    it writes events, and Prefect's client then waits two seconds. Raises NotFound without such a place.
    """
    if target is None:
        yield
        return
    try:
        # The place is a courtesy to the target: a busy server that fails to renew it must not end the whole run.
        async with concurrency(target_limit(target), strict=True, raise_on_lease_renewal_failure=False):
            yield
    except ConcurrencySlotAcquisitionError:
        problem, hint = (
            "the Prefect server does not give it",
            "Run `keyturn bootstrap`, which makes one for each target",
        )
        raise NotFound("take", f"the limit {target_limit(target)}", problem, hint) from None


def by_target(opened: Keyturn, paths: Sequence[str]) -> dict[str | None, list[str]]:
    """The paths, grouped by the target that their rotation works at."""
    groups: dict[str | None, list[str]] = defaultdict(list)
    for path in paths:
        groups[getattr(opened.secret(path).rotation, "target", None)].append(path)
    return groups


async def each(paths: Sequence[str], work: Callable[[str], Awaitable[T]]) -> dict[str, T | KeyturnError]:
    """Run ``work`` for every path, a few at a time; one that fails never stops another."""
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(path: str) -> T | KeyturnError:
        async with places:
            try:
                return await work(path)
            except KeyturnError as error:
                return error

    return dict(zip(paths, await asyncio.gather(*map(one, paths)), strict=True))


def chosen(opened: Keyturn, path: str | None) -> list[str]:
    """The one secret asked for, or every one of the catalogue. Raises NotFound."""
    return [opened.secret(path).path] if path else sorted(opened.catalogue.secrets)


def in_batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``."""
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def raise_failures(doing: str, results: dict[str, T | KeyturnError]) -> None:
    """End the run as failed when any secret failed, naming each."""
    errors = [error for error in results.values() if isinstance(error, KeyturnError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problem = " | ".join(map(str, errors))
        raise TerminalError(doing, f"{len(errors)} of {len(results)} secrets", problem)
