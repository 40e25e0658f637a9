"""The book of who set which field: ``metadata.managedFields``, as updates and applies change it.

Source: "Server-Side Apply", field management, and structured-merge-diff. Simpler than it in one respect: a list is one
field, whoever set which member.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from local.emulators.kubernetes.messages import Cause, Refusal

Path = tuple[str, ...]
Tree = dict[str, Any]

ITSELF: Final = "."
"""Stands in a path for the map itself, beside its members."""
MAPS: Final = frozenset({"data", "labels", "annotations", "matchLabels", "stringData"})
UNTRACKED: Final = frozenset(
    {
        ("apiVersion",),
        ("kind",),
        ("status",),
        *(
            ("metadata", name)
            for name in (
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "generation",
                "generateName",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "managedFields",
                "selfLink",
            )
        ),
    }
)
UPDATE: Final = "Update"
APPLY: Final = "Apply"


@dataclass(frozen=True)
class Entry:
    """What one manager has, by one operation."""

    manager: str
    operation: str
    version: str
    time: str
    paths: frozenset[Path]

    def is_of(self, manager: str, operation: str) -> bool:
        """Whether it is the book's page of that manager and operation."""
        return (self.manager, self.operation) == (manager, operation)


def read(managed: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """The entries of ``managedFields``."""
    return [
        Entry(
            entry["manager"],
            entry["operation"],
            entry["apiVersion"],
            entry["time"],
            frozenset(_paths(entry["fieldsV1"], ())),
        )
        for entry in managed
    ]


def written(entries: Iterable[Entry]) -> list[Tree]:
    """``managedFields`` of these entries; one that has nothing left is dropped."""
    return [
        {
            "manager": entry.manager,
            "operation": entry.operation,
            "apiVersion": entry.version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _nested(entry.paths),
        }
        for entry in entries
        if entry.paths
    ]


def updated(entries: list[Entry], before: Tree, after: Tree, page: Entry) -> list[Entry]:
    """The book after ``page``'s manager changed the object: what it changed is its own, and nobody else's."""
    old, new = dict(_leaves(before, ())), dict(_leaves(after, ()))
    changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
    gone = frozenset(old.keys() - new.keys())
    if not changed and not gone:
        return entries
    mine, others = _split(entries, page)
    left = [replace(entry, paths=entry.paths - changed - gone) for entry in others]
    return [*left, replace(page, paths=(mine | changed) - gone)]


def applied(entries: list[Entry], live: Tree, config: Tree, page: Entry, *, force: bool) -> tuple[Tree, list[Entry]]:
    """The object with ``config`` applied to it, and the book; what was applied before and is not now is removed.

    Raises :class:`Refusal` (409) where others have a field with another value, unless it is forced.
    """
    wanted = {path: value for path, value in _leaves(config, ()) if path[-1] != ITSELF}
    old = dict(_leaves(live, ()))
    mine, others = _split(entries, page)
    if not force:
        _refuse_conflicts(others, {path for path, value in wanted.items() if path in old and old[path] != value})
    made = _merged(live, config)
    for path in mine - wanted.keys() - frozenset(path for entry in others for path in entry.paths):
        _remove(made, path)
    new = dict(_leaves(made, ()))
    moved = frozenset(path for path in old if path not in new or new[path] != old[path])
    left = [replace(entry, paths=entry.paths - moved) for entry in others]
    return made, [*left, replace(page, paths=frozenset(wanted))]


def _split(entries: list[Entry], page: Entry) -> tuple[frozenset[Path], list[Entry]]:
    """What the manager has by this operation, and every other entry."""
    mine = [entry for entry in entries if entry.is_of(page.manager, page.operation)]
    others = [entry for entry in entries if not entry.is_of(page.manager, page.operation)]
    return frozenset(path for entry in mine for path in entry.paths), others


def _refuse_conflicts(others: Iterable[Entry], differing: set[Path]) -> None:
    causes = [
        Cause("." + ".".join(path), f'conflict with "{entry.manager}" using {entry.version}', "FieldManagerConflict")
        for entry in others
        for path in sorted(entry.paths & differing)
    ]
    if causes:
        raise Refusal(409, f"Apply failed with {len(causes)} conflicts", causes=causes)


def _leaves(tree: Mapping[str, Any], above: Path) -> Iterator[tuple[Path, Any]]:
    if above and above[-1] in MAPS:
        yield (*above, ITSELF), None
    for name, value in tree.items():
        path = (*above, name)
        if path in UNTRACKED:
            continue
        if isinstance(value, dict):
            yield from _leaves(value, path)
        else:
            yield path, value


def _merged(live: Any, config: Any) -> Any:
    if not isinstance(live, dict) or not isinstance(config, dict):
        return copy.deepcopy(config)
    return {**copy.deepcopy(live), **{name: _merged(live.get(name), value) for name, value in config.items()}}


def _remove(tree: Tree, path: Path) -> None:
    for name in path[:-1]:
        tree = tree.get(name) or {}
    tree.pop(path[-1], None)


def _nested(paths: Iterable[Path]) -> Tree:
    root: Tree = {}
    for path in sorted(paths):
        node = root
        for name in path:
            node = node.setdefault(name if name == ITSELF else f"f:{name}", {})
    return root


def _paths(tree: Tree, above: Path) -> Iterator[Path]:
    for name, below in tree.items():
        path = (*above, name.removeprefix("f:"))
        if below:
            yield from _paths(below, path)
        else:
            yield path
