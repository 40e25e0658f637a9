"""A protocol said once: a generator says what comes next, and a runner carries it out.

    def renewed(path: str) -> Conductor[str]:
        token = yield from ISSUE(path)
        yield from take_side_by_side(INSTALL(host, token) for host in HOSTS)
        return token

    conduct(renewed("a/b"), lambda step: step.verb.body(connection, *step.arguments, **step.options), side_by_side)

Here a step is a call. Elsewhere it may be a task that is shown, and tried again: only its name and its arguments
leave the protocol, and these are names too, never values.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from keyturn.core.errors import KeyturnError, unexpected

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Verb(Generic[P, T]):
    """What a protocol may ask for: its ``name`` for people, and the ``body`` that does it here.

    The body's first argument is whatever the runner works on; the protocol gives the others.
    """

    name: str
    body: Callable[Concatenate[Any, P], T]

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> "Conductor[T]":
        """Take this step: ``result = yield from verb(...)``. Raises what the step has failed with."""
        return cast(T, (yield Step(self, arguments, options)))


@dataclass(frozen=True)
class Step:
    """One step to take now: a verb with its arguments, all of them names."""

    verb: Verb[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class SideBySide:
    """Protocols, or single steps, to be conducted at the same time: ``at_once`` of them at most, or all."""

    protocols: tuple["Conductor[Any]", ...]
    at_once: int | None = None


Conductor = Generator[Step | SideBySide, Any, T]
"""A protocol under way: it yields what comes next, is sent the result or thrown the error, and returns its outcome."""


def take_side_by_side(
    protocols: Iterable["Conductor[T]"], at_once: int | None = None
) -> "Conductor[list[T | KeyturnError]]":
    """What became of each, in their order; the failure of one stays its own, and is its result."""
    return cast(list[T | KeyturnError], (yield SideBySide(tuple(protocols), at_once)))


class Spread(Protocol):
    """Does the work for every item, several at a time, and gives the results in the order of the items."""

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any], at_once: int | None = None, /) -> list[Any]:
        """At most ``at_once`` at a time, or all."""


def one_by_one(work: Callable[[Any], Any], items: Sequence[Any], at_once: int | None = None, /) -> list[Any]:
    """One after another, for runners that need no more."""
    return [work(item) for item in items]


def conduct(protocol: "Conductor[T]", take: Callable[[Step], Any], spread: Spread = one_by_one) -> T:
    """Conduct the protocol here: each step is carried out by ``take``. Raises what the protocol ends with."""

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
    """What ``work`` returns, or the error that it ends with; what nobody foresaw is told by its class and place."""
    try:
        return work()
    except KeyturnError as error:
        return error
    except Exception as error:  # noqa: BLE001  what one suffers from stops no other, and its text could hold a value
        return unexpected(error)
