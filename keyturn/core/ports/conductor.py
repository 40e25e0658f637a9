"""Protocols written once: a generator yields the next step, and a runner executes it.

    def renewed(path: str) -> Conductor[str]:
        token = yield from ISSUE(path)
        yield from take_side_by_side(INSTALL(host, token) for host in HOSTS)
        return token

    conduct(renewed("a/b"), lambda step: step.verb.body(connection, *step.arguments, **step.options), side_by_side)

Here a step is a call. Elsewhere it may be a task that is displayed and retried: only names leave the protocol, never
values.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from keyturn.core.errors import KeyturnError, unexpected

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Verb(Generic[P, T]):
    """An operation that a protocol may request: ``name`` for people, ``body`` for execution here.

    The body's first argument comes from the runner, the others from the protocol.
    """

    name: str
    body: Callable[Concatenate[Any, P], T]

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> "Conductor[T]":
        """Execute this step: ``result = yield from verb(...)``. Raises the step's error."""
        return cast(T, (yield Step(self, arguments, options)))


@dataclass(frozen=True)
class Step:
    """One step: a verb with its arguments, all of them names."""

    verb: Verb[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class SideBySide:
    """Protocols or single steps to run concurrently: at most ``at_once``, or all."""

    protocols: tuple["Conductor[Any]", ...]
    at_once: int | None = None


Conductor = Generator[Step | SideBySide, Any, T]
"""A running protocol: yields the next step, receives its result or error, returns its outcome."""


def take_side_by_side(
    protocols: Iterable["Conductor[T]"], at_once: int | None = None
) -> "Conductor[list[T | KeyturnError]]":
    """Each protocol's result or error, in order; one failure stops no other."""
    return cast(list[T | KeyturnError], (yield SideBySide(tuple(protocols), at_once)))


class Spread(Protocol):
    """Runs the work for every item concurrently; results are in order."""

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any], at_once: int | None = None, /) -> list[Any]:
        """Run at most ``at_once`` concurrently, or all."""


def one_by_one(work: Callable[[Any], Any], items: Sequence[Any], at_once: int | None = None, /) -> list[Any]:
    """Run one item after another."""
    return [work(item) for item in items]


def conduct(protocol: "Conductor[T]", take: Callable[[Step], Any], spread: Spread = one_by_one) -> T:
    """Run the protocol here, each step by ``take``. Raises what the protocol raises."""

    def carry_out(wanted: Step | SideBySide) -> Any:
        if isinstance(wanted, Step):
            return take(wanted)
        return spread(lambda each: outcome_of(lambda: conduct(each, take, spread)), wanted.protocols, wanted.at_once)

    try:
        wanted = next(protocol)
        while True:
            try:
                result = carry_out(wanted)
            except BaseException as error:  # noqa: BLE001  it is the protocol's to answer, or to let pass
                wanted = protocol.throw(error)
            else:
                wanted = protocol.send(result)
    except StopIteration as over:
        return cast(T, over.value)


def outcome_of(work: Callable[[], T]) -> T | KeyturnError:
    """The result of ``work`` or its error; an unexpected one by class and place."""
    try:
        return work()
    except KeyturnError as error:
        return error
    except Exception as error:  # noqa: BLE001  what one suffers from stops no other, and its text could hold a value
        return unexpected(error)
