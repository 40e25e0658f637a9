"""The decorator of all tasks: nothing is stored or cached, and only transient errors are retried."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any, Final, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import Completed
from prefect.tasks import exponential_backoff

from keyturn.core.errors import KeyturnError, Locked, TransientError, unexpected
from keyturn.project.runs.result import count_step

RETRIES: Final = 4
BACKOFF: Final = 1.0
"""Seconds before the first retry; doubled each time, with 50 % jitter."""

THREADS: Final = ThreadPoolExecutor(64, thread_name_prefix="keyturn")

P = ParamSpec("P")
T = TypeVar("T")


def worth_retrying(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """The error's class decides. A locked secret is left to its holder."""
    return isinstance(state.data, TransientError) and not isinstance(state.data, Locked)


_sentences: ContextVar[list[str] | None] = ContextVar("sentences", default=None)


def tell(sentence: str) -> None:
    """Set the result message of this step, in names only; the last call wins."""
    if (sentences := _sentences.get()) is not None:
        sentences.append(sentence)


class ToldTask(Task[P, Coroutine[Any, Any, T]]):
    """A task whose state has its own message; a caller receives the body's result."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:  # type: ignore[override]
        return returned(super().__call__(*args, **kwargs))


async def returned(running: Any) -> Any:
    result = await running
    return await result.aresult() if isinstance(result, State) else result


def called_by_path(name: str) -> Callable[[Mapping[str, Any]], str]:
    def called(parameters: Mapping[str, Any]) -> str:
        on = next(iter(parameters.values()), None)
        return f"{name} {on}" if isinstance(on, str) else name

    return called


def task(
    name: str, retries: int = RETRIES, called: Callable[[Mapping[str, Any]], str] | None = None
) -> Callable[[Callable[P, T]], ToldTask[P, T]]:
    """A task from a plain function, whose first argument is a secret's path or several paths.

    The body runs in a thread, and may call :func:`tell`. Errors of other libraries are replaced, because their text may
    contain a value. ``called`` makes the run's name from the body's arguments, by name.
    """
    naming = called or called_by_path(name)

    def run_name(parameters: Mapping[str, Any]) -> str:
        return naming(parameters)

    def decorate(body: Callable[P, T]) -> ToldTask[P, T]:
        @functools.wraps(body)
        async def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            shown, sentences = count_step(), list[str]()
            token = _sentences.set(sentences)
            try:
                work = functools.partial(guarded, name, body, *args, **kwargs)
                # The loop's default executor has only four more threads than cores, too few for a fleet.
                result = await asyncio.get_running_loop().run_in_executor(THREADS, copy_context().run, work)
            finally:
                _sentences.reset(token)
            if not (shown and sentences):
                return result
            get_run_logger().info("%s", sentences[-1])
            return Completed(message=sentences[-1], data=result)

        return ToldTask(
            fn=run,
            name=name,
            task_run_name=cast(Callable[[], str], run_name),  # Prefect detects that it takes the parameters
            persist_result=False,
            cache_policy=NO_CACHE,
            log_prints=False,
            retries=retries,
            retry_delay_seconds=exponential_backoff(BACKOFF),
            retry_jitter_factor=0.5,
            retry_condition_fn=worth_retrying,
        )

    return decorate


async def look(task: ToldTask[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step without a task run, with the same retries."""
    for attempt in range(RETRIES):
        try:
            return await task.fn(*args, **kwargs)
        except Locked:
            raise
        except TransientError:
            await asyncio.sleep(BACKOFF * 2**attempt)
    return await task.fn(*args, **kwargs)


def guarded(name: str, body: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    path = args[0] if args and isinstance(args[0], str) else "several secrets"
    try:
        return body(*args, **kwargs)
    except KeyturnError as error:
        raise error.during(name, path) from None
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        raise unexpected(error).during(name, path) from None
