"""Reading many secrets at once: those of one source in as few calls as it allows, all sources side by side.

A source is the hub, or a store. One that fails, or one name that is refused, takes nothing from the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from keyturn.core.errors import Invalid, KeyturnError, NotFound, TerminalError
from keyturn.core.text.suggest import advice

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Name = tuple[str, str]
"""A source's name, and a secret's name there."""


class BulkReader(Protocol[T_co]):
    """What can be read from: every :class:`keyturn.core.ports.stores.Store`, and the hub's adapter."""

    def read_many(self, names: Sequence[str], /) -> Mapping[str, T_co]:
        """What is served under these names now, in as few calls as possible; what is absent is left out."""


@dataclass(frozen=True)
class Bulk(Generic[T]):
    """What was read, and why the rest was not; both in the order that was asked for, each name in one of them."""

    values: Mapping[Name, T] = field(repr=False)
    errors: Mapping[Name, KeyturnError]

    def all(self) -> Mapping[Name, T]:
        """The values, where all of them are there. Raises the first error."""
        for error in self.errors.values():
            raise error
        return self.values


def read_many(sources: Mapping[str, BulkReader[T]], names: Iterable[Name]) -> Bulk[T]:
    """Read each name from its source. Raises Invalid for a source that is not among ``sources``."""
    wanted = list(dict.fromkeys(names))
    groups: dict[str, list[str]] = {}
    for source, name in wanted:
        if source not in sources:
            raise Invalid("read from", source, "there is no such source", advice(source, sources, "Give it one"))
        groups.setdefault(source, []).append(name)
    answered: dict[Name, T | KeyturnError] = {}
    with ThreadPoolExecutor(max(1, len(groups))) as pool:
        for answers in pool.map(lambda source: _from(source, sources[source], groups[source]), groups):
            answered |= answers
    values = {name: answered[name] for name in wanted}
    return Bulk(
        {name: value for name, value in values.items() if not isinstance(value, KeyturnError)},
        {name: value for name, value in values.items() if isinstance(value, KeyturnError)},
    )


def _from(source: str, reader: BulkReader[T], names: Sequence[str]) -> dict[Name, T | KeyturnError]:
    """What one source has to say to each name.

    A refusal may be of one name alone: the halves are then asked by themselves, until it stands alone. A source
    that does not answer, or asks for a slower pace, is not asked again.
    """
    try:
        values = reader.read_many(names)
    except TerminalError as error:
        if len(names) == 1:
            return {(source, names[0]): error}
        middle = len(names) // 2
        return _from(source, reader, names[:middle]) | _from(source, reader, names[middle:])
    except KeyturnError as error:
        return {(source, name): error for name in names}
    return {(source, name): values[name] if name in values else absent(source, name) for name in names}


def absent(source: str, name: str) -> KeyturnError:
    """There is nothing of that name."""
    return NotFound("read", f"{source}:{name}", "there is none", "Check the name, or sync it there")
