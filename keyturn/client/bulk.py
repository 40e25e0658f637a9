"""Reads many secrets with few calls, from all sources concurrently.

A failed source or a refused name does not affect the others.
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
    """The reader of every :class:`keyturn.core.ports.stores.Store`, and of the hub's adapter."""

    def read_many(self, names: Sequence[str], /) -> Mapping[str, T_co]:
        """The values of these names, in as few calls as possible, without absent ones."""


@dataclass(frozen=True)
class Bulk(Generic[T]):
    """The values and the errors, in the requested order."""

    values: Mapping[Name, T] = field(repr=False)
    errors: Mapping[Name, KeyturnError]

    def all(self) -> Mapping[Name, T]:
        """The values. Raises the first error."""
        for error in self.errors.values():
            raise error
        return self.values


def read_many(sources: Mapping[str, BulkReader[T]], names: Iterable[Name]) -> Bulk[T]:
    """Read each name from its source. Raises Invalid for an unknown source."""
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
    """The answers of one source.

    After a refusal, the halves are asked separately, down to the refused name. A source that does not answer, or
    throttles, is not asked again.
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
    """The error for an absent name."""
    return NotFound("read", f"{source}:{name}", "there is none", "Check the name, or sync it there")
