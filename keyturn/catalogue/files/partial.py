"""Loads a broken catalogue for revocations without its broken parts, and lists every problem.

A removed part is never used: no copy is written to a place with uncertain settings.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any, Final

from keyturn.catalogue.files.environment import Expanded
from keyturn.catalogue.files.parse import ParsedFiles
from keyturn.catalogue.files.problems import KeyPath, Problem

HOLDING: Final = frozenset(("syncs", "mounts"))
"""Sections whose broken entries may concern any secret: they define its copies and its mount."""

REQUIRED: Final = frozenset(("owner", "classification", "rotation"))

HOLE: Final = object()
"""A placeholder for a removed list item, so that messages show the original positions of the others."""

Examined = tuple[dict[str, dict[str, Any]], list[Problem], list[Problem]]


def examine_parts(read: ParsedFiles, examine: Callable[[ParsedFiles], Examined]) -> Examined:
    """Examines repeatedly without the broken parts until the rest is valid. Returns the problems of all rounds."""
    # Names that only an unreadable file may declare count as missing.
    rest, removed, every = replace(read, complete=True), set[KeyPath](), dict[Problem, None]()
    while True:
        made, problems, breaches = examine(rest)
        every |= dict.fromkeys(problems)
        broken = {part for problem in problems if (part := removable(problem.path))} - removed
        if not broken:
            return made, sorted(every), breaches
        removed |= broken
        rest = without(rest, broken)


def removable(path: KeyPath) -> KeyPath:
    """The smallest part to remove for a problem at ``path``; empty if none.

    A secret's entry stays, because its credential must be revoked. An entry that is no valid secret has no model
    anyway.
    """
    if path[:1] != ("secrets",):
        return path[:2] if len(path) > 1 else ()
    if len(path) < 3 or path[2] in REQUIRED:
        return ()
    item = path[2] in ("destinations", "consumers") and len(path) > 3
    return path[:4] if item else path[:3]


def without(read: ParsedFiles, parts: Collection[KeyPath]) -> ParsedFiles:
    entries = {section: dict(named) for section, named in read.entries.items()}
    for section, name, *below in sorted(parts, key=len, reverse=True):
        named = entries[str(section)]
        if below and (entry := named.get(str(name))):
            named[str(name)] = entry.holding(_removed(entry.data, below))
        elif not below:
            named.pop(str(name), None)
    return replace(read, entries=entries)


def _removed(data: Any, path: list[str | int]) -> Any:
    first, *rest = path
    if isinstance(data, dict) and first in data:
        if not rest:
            return {key: value for key, value in data.items() if key != first}
        return {**data, first: _removed(data[first], rest)}
    if isinstance(data, list):
        return [HOLE if at == first else item for at, item in enumerate(data)]
    return data


def closed_up(expanded: Expanded) -> Expanded:
    data = expanded.entry.data
    lists = {key: value for key, value in data.items() if isinstance(value, list)} if isinstance(data, dict) else {}
    if not any(HOLE in items for items in lists.values()):
        return expanded
    closed = {key: [item for item in items if item is not HOLE] for key, items in lists.items()}
    return replace(expanded, entry=expanded.entry.holding({**data, **closed}))


def concerning(left_out: Iterable[Problem], path: str) -> tuple[Problem, ...]:
    """The problems that may hide something about the secret at ``path``."""
    places = ((problem, problem.path) for problem in left_out)
    return tuple(problem for problem, at in places if len(at) < 2 or at[0] in HOLDING or at[:2] == ("secrets", path))


def left_out_entry(left_out: Iterable[Problem], section: str, name: str) -> Problem | None:
    return next((problem for problem in left_out if problem.path[:2] == (section, name)), None)
