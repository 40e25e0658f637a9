"""Restarting who uses a copy: once for all that a run has written, and what shows that it is done.

Nobody waits here for pods to begin: that a restart is owed, and how far it is, is told by the store whenever it is
asked. The old credential's end asks, and so do the scheduled runs.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from keyturn.catalogue import Catalogue
from keyturn.catalogue.destinations import DeclaredPlace, Destination
from keyturn.catalogue.spreading import plain_places
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.rollouts import Restarts, restarter
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

SHOWN: Final = 5
"""So many workloads are named in one entry of the ledger."""

_later: ContextVar[bool] = ContextVar("later", default=False)


@contextmanager
def restarted_later() -> Iterator[None]:
    """Leave the restarts to whoever does them for all at the end; that they are owed stands beside the copies."""
    token = _later.set(True)
    try:
        yield
    finally:
        _later.reset(token)


def restarts(workspace: Workspace, store: str) -> Restarts | None:
    """The store where it restarts anybody; one whose settings say that it does not is not opened for that."""
    return restarter(workspace.open_store(store)) if wants_restarts(workspace.catalogue, store) else None


def wants_restarts(catalogue: Catalogue, store: str) -> bool:
    """Whether its settings say that it restarts who uses a copy."""
    return bool(getattr(catalogue.store(store), "restart", False))


def restarting_stores(catalogue: Catalogue, places: Iterable[DeclaredPlace]) -> list[str]:
    """The stores of these places whose settings say that they restart who uses a copy."""
    return [store for store in dict.fromkeys(place.store for place in places) if wants_restarts(catalogue, store)]


def restarting(workspace: Workspace, places: Iterable[Destination]) -> dict[str, list[str]]:
    """The names of these places by store, where that restarts anybody."""
    names: dict[str, list[str]] = defaultdict(list)
    for place in places:
        if wants_restarts(workspace.catalogue, place.store):
            names[place.store].append(place.name)
    return dict(names)


def restart_users(
    workspace: Workspace, wanted: Mapping[str, Collection[str]], path: str = ""
) -> dict[str, KeyturnError]:
    """Restart who uses these copies, where that is owed; what a store refuses is part of the answer.

    ``wanted`` are names by store. Nothing is done where it is left to the end of a run.
    """
    refused: dict[str, KeyturnError] = {}
    for store, names in () if _later.get() else wanted.items():
        try:
            restart(workspace, store, names, path)
        except KeyturnError as error:
            refused[store] = error
    return refused


def restart(workspace: Workspace, store: str, names: Collection[str], path: str = "") -> list[str]:
    """The same in one store, written down where anything is owed; who is restarted. Raises what refuses it."""
    workloads = restarts(workspace, store)
    owed = workloads.owed(names) if workloads else ()
    if not workloads or not owed:
        return []
    with record_action(workspace, "restart", path, place=store, note=f"who uses {list_names(owed)}") as doing:
        restarted = [rollout.workload for rollout in workloads.restart_users(owed)]
        doing.note = list_names(restarted) or f"nobody who uses {list_names(owed)} has to be"
    return restarted


def list_names(names: Collection[str]) -> str:
    """The names, no more of them than anybody reads."""
    shown = sorted(names)[:SHOWN]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def unfinished_rollouts(
    workspace: Workspace, places: Iterable[Destination], version: int | None, *, note: bool
) -> list[str]:
    """Why some pods may not have ``version`` yet, in words; what could not be looked at is said to be unknown.

    With ``note`` what is finished is noted at the workload.
    """
    problems = []
    for store, names in restarting(workspace, places).items():
        try:
            workloads = restarts(workspace, store)
            rollouts = workloads.rollouts(names, note=note) if workloads else ()
        except KeyturnError as error:
            whose = f"the workloads that use {list_names(names)}"
            problems.append(f"nobody can tell whether {whose} are restarted: {error}")
            continue
        problems += [why for rollout in rollouts if (why := rollout.obstacle(version))]
    return problems


def restarted_together(workspace: Workspace, paths: Iterable[str]) -> list[frozenset[str]]:
    """Which of these secrets are to be restarted for together, since some workload uses copies of several of them.

    Those that share with no other are left out, and so are all where that can't be looked at.
    """
    by_store: dict[str, dict[str, str]] = defaultdict(dict)
    for path in paths:
        for place in _places(workspace, path):
            if wants_restarts(workspace.catalogue, place.store):
                by_store[place.store][place.name] = path
    several = {store: names for store, names in by_store.items() if len(names) > 1}
    used = [group for store, names in several.items() for group in used_together(workspace, store, names)]
    return [group for group in join_groups(used) if len(group) > 1]


def _places(workspace: Workspace, path: str) -> tuple[Destination, ...]:
    """The places of its copies, as far as they can be told."""
    try:
        return workspace.places(path)
    except KeyturnError:
        return plain_places(workspace.catalogue, path)


def used_together(workspace: Workspace, store: str, paths: Mapping[str, str]) -> list[frozenset[str]]:
    """The secrets that each workload of a store uses, of these by the names of their copies."""
    try:
        workloads = restarts(workspace, store)
        rollouts = workloads.rollouts(paths) if workloads else ()
    except KeyturnError:
        return []
    return [frozenset(paths[name] for name in rollout.remotes if name in paths) for rollout in rollouts]


def join_groups(groups: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """The same with groups that share a member made one."""
    joined: list[frozenset[str]] = []
    for group in groups:
        touching = [other for other in joined if other & group]
        joined = [other for other in joined if not other & group] + [group.union(*touching)]
    return joined
