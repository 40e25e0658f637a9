"""The one decorator of all tasks: nothing is persisted or cached, and only transient errors are retried."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from keyturn.core.errors import KeyturnError, Locked, TransientError, unexpected

RETRIES: Final = 4
BACKOFF: Final = 1.0
"""Seconds before the first retry; doubled each time, and spread by half."""

THREADS: Final = ThreadPoolExecutor(64, thread_name_prefix="keyturn")

P = ParamSpec("P")
T = TypeVar("T")


def worth_retrying(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Decided by the error's class. What somebody else holds is left to them at once."""
    return isinstance(state.data, TransientError) and not isinstance(state.data, Locked)


def step(name: str, retries: int = RETRIES) -> Callable[[Callable[P, T]], Task[P, Coroutine[Any, Any, T]]]:
    """A task from a plain function whose first argument is the secret's path, or several paths.

    The body runs in a thread. Its errors say the step and the secret; one that is not Keyturn's own is
    replaced, since its text could hold anything. Without ``retries`` whoever calls it decides when it is tried again.
    """

    decorated: Callable[[Callable[P, Coroutine[Any, Any, T]]], Task[P, Coroutine[Any, Any, T]]] = task(
        name=name,
        task_run_name=name,
        persist_result=False,
        cache_policy=NO_CACHE,
        log_prints=False,
        retries=retries,
        retry_delay_seconds=exponential_backoff(BACKOFF),
        retry_jitter_factor=0.5,
        retry_condition_fn=worth_retrying,
    )

    def decorate(body: Callable[P, T]) -> Task[P, Coroutine[Any, Any, T]]:
        @functools.wraps(body)
        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            work = functools.partial(guarded, name, body, *args, **kwargs)
            # The loop's own threads are four more than there are cores: too few for a fleet.
            return await asyncio.get_running_loop().run_in_executor(THREADS, copy_context().run, work)

        return decorated(run)

    return decorate


async def look(task: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """A step without a task run: what a look has found is told by what follows, and nothing found leaves nothing.

    It is tried again like a step that shows.
    """
    for attempt in range(RETRIES):
        try:
            return await task.fn(*args, **kwargs)
        except Locked:
            raise
        except TransientError:
            await asyncio.sleep(BACKOFF * 2**attempt)
    return await task.fn(*args, **kwargs)


def guarded(name: str, body: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run ``body``; whatever it raises leaves as a KeyturnError that holds no value."""
    path = args[0] if args and isinstance(args[0], str) else "several secrets"
    try:
        return body(*args, **kwargs)
    except KeyturnError as error:
        raise error.during(name, path) from None
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        raise unexpected(error).during(name, path) from None
