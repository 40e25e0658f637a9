"""Shared by the flows: the decorator, the limit per target, and a bounded fan-out."""

import asyncio
import functools
import inspect
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import prefect
from prefect import Flow
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.support.starting import LEDGER_KEEPER, start_at_next_mark
from keyturn.core.actor import Acting, acting
from keyturn.core.errors import KeyturnError, NotFound, TerminalError, Unrecorded, unexpected
from keyturn.core.ports.tracing import RUN_ATTRIBUTE, TRACE_LABEL, SpanIds, parse_traceparent, traced
from keyturn.project.runs.heartbeat import heartbeats
from keyturn.project.runs.places import hold_place
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from tasks.ledger import find_hub
from tasks.workspace import current_workspace, lenient, names

SIDE_BY_SIDE: Final = 8

BATCH: Final = 50
"""Secrets per task for short work."""

NOWHERE: Final = Path(os.devnull)
"""The place of results: a path below a file can't be written."""

T = TypeVar("T")
P = ParamSpec("P")


Begun = list[asyncio.Task[datetime | None]]
"""The requests for a checkpoint of this run; empty until the ledger records the run."""

_beginning: ContextVar[Callable[[], None] | None] = ContextVar("beginning", default=None)


def begins() -> None:
    """Record in the ledger that this run has work; call it before the first change."""
    if begin := _beginning.get():
        begin()


@contextmanager
def told_of(opened: Workspace, name: str, path: str, *, looks: bool) -> Iterator["Begun"]:
    """Record the run's start and result; with ``looks``, only if it changes something or fails."""
    with ExitStack() as stack:
        begun: Begun = []

        def begin() -> None:
            if not begun:
                stack.enter_context(record_action(opened, f"flow {name}", path))
                begun.append(asyncio.create_task(start_at_next_mark(LEDGER_KEEPER)))

        if not looks:
            begin()
        token = _beginning.set(begin)
        try:
            yield begun
        except BaseException:
            with suppress(Unrecorded):
                begin()
            raise
        finally:
            _beginning.reset(token)


async def begin_run(stack: ExitStack, opened: Workspace, name: str, path: str, *, looks: bool) -> Begun:
    """Record the run in ``stack``. If the hub does not name its ledger, ask again once."""
    try:
        return stack.enter_context(told_of(opened, name, path, looks=looks))
    except Unrecorded:
        await find_hub("the hub")
        return stack.enter_context(told_of(opened, name, path, looks=looks))


async def vouch(begun: Begun) -> None:
    marks = await asyncio.gather(*begun)
    if any(mark is None or mark <= datetime.now(UTC) for mark in marks):
        await start_at_next_mark(LEDGER_KEEPER)


def flow(
    name: str,
    run_name: str | Callable[[], str] | None = None,
    *,
    timeout: timedelta,
    looks: bool = False,
    opens: Callable[[], Workspace] = current_workspace,
    revoking: bool = False,
) -> Callable[[Callable[P, Awaitable[T]]], Flow[P, Awaitable[T]]]:
    """The decorator of all flows: the ledger records each run, and no results or prints are stored.

    A run starts only after its entry in the ledger of ``opens()``. With ``looks``, a run for no named secret is
    recorded at :func:`begins`. Errors of other libraries are replaced. A run that exceeds ``timeout`` fails as
    TimedOut, and the next run completes it. ``revoking``: the run uses the valid part of an invalid catalogue.
    """
    decorated: Callable[[Callable[P, Awaitable[T]]], Flow[P, Awaitable[T]]] = prefect.flow(
        name=name,
        flow_run_name=run_name or name,
        timeout_seconds=timeout.total_seconds(),
        persist_result=False,
        result_storage=NOWHERE,
        log_prints=False,
    )

    def decorate(body: Callable[P, Awaitable[T]]) -> Flow[P, Awaitable[T]]:
        signature = inspect.signature(body)

        def named(*args: P.args, **kwargs: P.kwargs) -> str:
            # Prefect passes arguments by position if possible.
            return str(signature.bind(*args, **kwargs).arguments.get("path") or "")

        @functools.wraps(body)
        async def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            token, path = acting.set(at_work()), named(*args, **kwargs)
            lenient.set(revoking)
            begun: Begun = []
            try:
                opened = await asyncio.to_thread(opens)
                attributes = {"keyturn.secret": path, RUN_ATTRIBUTE: run_id()}
                work = traced(f"flow {name}", attributes, trace=trace_of_run(), parent=asked_within())
                with work, heartbeats(), ExitStack() as stack:
                    begun = await begin_run(stack, opened, name, path, looks=looks and not path)
                    return await body(*args, **kwargs)
            except KeyturnError as error:
                return ended(error)
            except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
                return ended(unexpected(error).during(name, path or "the catalogue"))
            finally:
                acting.reset(token)
                await vouch(begun)

        return decorated(run)

    return decorate


def run_id() -> str:
    run = FlowRunContext.get()
    return str(run.flow_run.id) if run and run.flow_run else ""


def trace_of_run() -> str:
    """The run's trace id: its own id without hyphens; empty outside Prefect."""
    return run_id().replace("-", "")


def asked_within() -> SpanIds:
    """The span of the command that requested this run; none without a valid label."""
    run = FlowRunContext.get()
    return parse_traceparent(run.flow_run.labels.get(TRACE_LABEL) if run and run.flow_run else None)


def at_work() -> Acting:
    """This run, and its requester as far as Prefect knows."""
    run = FlowRunContext.get()
    if run is None or run.flow_run is None:
        return Acting("Prefect", by_others=True)
    by = run.flow_run.created_by
    asked_by = f"{(by.type or 'Prefect').lower()} {by.display_value or ''}".strip() if by else "Prefect"
    return Acting(f"{run.flow_run.name} {run.flow_run.id}", asked_by, by_others=True)


def ended(error: KeyturnError) -> Any:
    """The failed state for Prefect, which raises ``error`` for a Python caller."""
    return Failed(message=str(error), data=error)


def well(message: str, returned: T) -> T:
    """The completed state with this message, which is also logged; a Python caller receives ``returned``."""
    get_run_logger().info("%s", message)
    return cast(T, Completed(message=message, data=returned))


async def workspace() -> Workspace:
    return await asyncio.to_thread(current_workspace)


@asynccontextmanager
async def at_target(target: str | None) -> AsyncIterator[None]:
    """Hold the only fan-out slot of a target, if any. Raises NotFound if the limit does not exist.

    It is held once per run: on SQLite the server often answers 503 to a change of slots.
    """
    if target is None:
        yield
        return
    limit = names().limit(target)
    try:
        async with hold_place(limit):
            yield
    except ConcurrencySlotAcquisitionError:
        problem, hint = (
            "the Prefect server does not give it",
            f"Run `keyturn setup prefect --apply{names().option}`, which makes one for each target",
        )
        raise NotFound("take", f"the limit {limit}", problem, hint) from None


def by_target(opened: Workspace, paths: Sequence[str]) -> dict[str | None, list[str]]:
    groups: dict[str | None, list[str]] = defaultdict(list)
    for path in paths:
        groups[getattr(opened.secret(path).rotation, "target", None)].append(path)
    return groups


async def each(paths: Sequence[str], work: Callable[[str], Awaitable[T]]) -> dict[str, T | KeyturnError]:
    """Run ``work`` for every path with limited concurrency; a failure does not stop the others."""
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(path: str) -> T | KeyturnError:
        async with places:
            try:
                return await work(path)
            except KeyturnError as error:
                return error

    return dict(zip(paths, await asyncio.gather(*map(one, paths)), strict=True))


def chosen(opened: Workspace, path: str | None) -> list[str]:
    return [opened.secret(path).path] if path else sorted(opened.catalogue.secrets)


def in_batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def raise_failures(doing: str, results: dict[str, T | KeyturnError]) -> None:
    """Raise one error that names every failed secret, if any."""
    errors = [error for error in results.values() if isinstance(error, KeyturnError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problem = " | ".join(map(str, errors))
        raise TerminalError(doing, f"{len(errors)} of {len(results)} secrets", problem)
