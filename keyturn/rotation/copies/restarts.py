"""Restart the workloads of changed copies, once for each run, and check the rollouts.

Nothing waits for pods: the store reports pending restarts to retirement and the scheduled runs.
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
"""Maximum workloads named in one ledger entry."""

_later: ContextVar[bool] = ContextVar("later", default=False)


@contextmanager
def restarted_later() -> Iterator[None]:
    """Delay the restarts to the caller's final one; copies are marked as pending a restart."""
    token = _later.set(True)
    try:
        yield
    finally:
        _later.reset(token)


def restarts(workspace: Workspace, store: str) -> Restarts | None:
    """The store if its settings enable restarts; otherwise it is not opened."""
    return restarter(workspace.open_store(store)) if wants_restarts(workspace.catalogue, store) else None


def wants_restarts(catalogue: Catalogue, store: str) -> bool:
    """Whether the store's settings enable restarts."""
    return bool(getattr(catalogue.store(store), "restart", False))


def restarting_stores(catalogue: Catalogue, places: Iterable[DeclaredPlace]) -> list[str]:
    """The stores of these places whose settings enable restarts."""
    return [store for store in dict.fromkeys(place.store for place in places) if wants_restarts(catalogue, store)]


def restarting(workspace: Workspace, places: Iterable[Destination]) -> dict[str, list[str]]:
    """The names of these places by store, for stores that restart workloads."""
    names: dict[str, list[str]] = defaultdict(list)
    for place in places:
        if wants_restarts(workspace.catalogue, place.store):
            names[place.store].append(place.name)
    return dict(names)


def restart_users(
    workspace: Workspace, wanted: Mapping[str, Collection[str]], path: str = ""
) -> dict[str, KeyturnError]:
    """Restart the workloads of these copies, if pending; errors are part of the result.

    ``wanted`` are names by store. Does nothing inside :func:`restarted_later`.
    """
    refused: dict[str, KeyturnError] = {}
    for store, names in () if _later.get() else wanted.items():
        try:
            restart(workspace, store, names, path)
        except KeyturnError as error:
            refused[store] = error
    return refused


def restart(workspace: Workspace, store: str, names: Collection[str], path: str = "") -> list[str]:
    """Restart and record the pending workloads of one store and return their names. Raises its errors."""
    workloads = restarts(workspace, store)
    owed = workloads.owed(names) if workloads else ()
    if not workloads or not owed:
        return []
    with record_action(workspace, "restart", path, place=store, note=f"who uses {list_names(owed)}") as doing:
        restarted = [rollout.workload for rollout in workloads.restart_users(owed)]
        doing.note = list_names(restarted) or f"no user of {list_names(owed)} has to be"
    return restarted


def list_names(names: Collection[str]) -> str:
    """The names, shortened for people."""
    shown = sorted(names)[:SHOWN]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def unfinished_rollouts(
    workspace: Workspace, places: Iterable[Destination], version: int | None, *, note: bool
) -> list[str]:
    """Why some pods may not have ``version`` yet; stores that can't be checked count as unknown.

    With ``note``, finished rollouts are marked at the workload.
    """
    problems = []
    for store, names in restarting(workspace, places).items():
        try:
            workloads = restarts(workspace, store)
            rollouts = workloads.rollouts(names, note=note) if workloads else ()
        except KeyturnError as error:
            whose = f"the workloads that use {list_names(names)}"
            problems.append(f"it is unknown whether {whose} are restarted: {error}")
            continue
        problems += [why for rollout in rollouts if (why := rollout.obstacle(version))]
    return problems


def restarted_together(workspace: Workspace, paths: Iterable[str]) -> list[frozenset[str]]:
    """Groups of these secrets whose copies a workload uses together, so that one restart is enough.

    Secrets that share with no other are left out, and so are stores that can't be checked.
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
    """The known places of its copies."""
    try:
        return workspace.places(path)
    except KeyturnError:
        return plain_places(workspace.catalogue, path)


def used_together(workspace: Workspace, store: str, paths: Mapping[str, str]) -> list[frozenset[str]]:
    """For each workload of a store, the secrets it uses, from copy names."""
    try:
        workloads = restarts(workspace, store)
        rollouts = workloads.rollouts(paths) if workloads else ()
    except KeyturnError:
        return []
    return [frozenset(paths[name] for name in rollout.remotes if name in paths) for rollout in rollouts]


def join_groups(groups: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """The groups, merged where they share a member."""
    joined: list[frozenset[str]] = []
    for group in groups:
        touching = [other for other in joined if other & group]
        joined = [other for other in joined if not other & group] + [group.union(*touching)]
    return joined
