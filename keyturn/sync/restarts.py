"""The end of a sync: restart the users of written copies, and report rollouts."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.plan import Plan
from keyturn.core.ports.rollouts import Rollout, RolloutState
from keyturn.rotation.copies.push import CopyState
from keyturn.rotation.copies.restarts import restart_users, restarts, wants_restarts
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Result

RESTART: Final = "restart"
"""The action of these results."""
FAILED: Final = "RolloutFailed"
"""The kind of a failed rollout."""
WORKLOADS: Final = "workloads"
"""The name in results for unreadable workloads."""

RemoteNames = Collection[str]
Paths = Mapping[tuple[str, str], str]


def scope(workspace: Workspace, planned: Plan) -> dict[str, RemoteNames]:
    """The plan's copies by store, where restarts are configured."""
    restarting = {
        store for store in {item.store for item in planned.items} if wants_restarts(workspace.catalogue, store)
    }
    names: dict[str, set[str]] = defaultdict(set)
    for item in planned.items:
        if item.store in restarting and not item.hands_off:
            names[item.store].add(item.name)
    return dict(names)


def any_owed(workspace: Workspace, planned: Plan) -> bool:
    """Whether a restart is due for any copy. :func:`restart_all` handles errors."""
    for store, names in scope(workspace, planned).items():
        try:
            workloads = restarts(workspace, store)
            if workloads and workloads.owed(names):
                return True
        except KeyturnError:
            return True
    return False


def restart_all(workspace: Workspace, planned: Plan, written: Iterable[Result] | None = None) -> list[Result]:
    """Restart the users of the plan's copies where due, check every rollout, and return the failures.

    ``written`` limits this to its copies: another run may restart the others.
    """
    wanted, paths = scope(workspace, planned), {(item.store, item.name): item.path for item in planned.items}
    if written is not None:
        made = [result for result in written if result.state in (CopyState.CREATED, CopyState.UPDATED)]
        wanted = {
            store: names for store in wanted if (names := {result.name for result in made if result.store == store})
        }
    refused = restart_users(workspace, wanted)
    failed = [
        result for store in refused for result in unrestarted(workspace, planned, store, wanted[store], refused[store])
    ]
    rollouts = (
        result
        for store in wanted
        if store not in refused
        for result in failed_rollouts(workspace, store, wanted, paths)
    )
    return [*failed, *rollouts]


def unrestarted(
    workspace: Workspace, planned: Plan, store: str, names: RemoteNames, error: KeyturnError
) -> list[Result]:
    """A failure for each copy with users not restarted, or one for the store."""
    try:
        workloads = restarts(workspace, store)
        owed = workloads.owed(names) if workloads else ()
    except KeyturnError:
        owed = ()
    message = f"who uses it is not restarted: {error}"
    copies = [item for item in planned.items if item.store == store and item.name in owed]
    failures = [_failing(item.path, store, item.name, message, error, item.slot) for item in copies]
    return failures or [_failing("", store, WORKLOADS, message, error)]


def failed_rollouts(workspace: Workspace, store: str, wanted: Mapping[str, RemoteNames], paths: Paths) -> list[Result]:
    """A failure for each failed rollout, or one if unreadable."""
    try:
        workloads = restarts(workspace, store)
        rollouts = workloads.rollouts(wanted[store], note=True) if workloads else ()
    except KeyturnError as error:
        message = f"it is unknown whether workloads are restarted: {error}"
        return [_failing("", store, WORKLOADS, message, error)]
    broken = [rollout for rollout in rollouts if rollout.state is RolloutState.FAILED]
    return [
        Result(
            RESTART,
            _path_of(rollout.remotes, store, paths),
            store,
            rollout.name,
            str(CopyState.FAILED),
            describe_rollout(rollout),
            FAILED,
        )
        for rollout in broken
    ]


def _path_of(remotes: Collection[str], store: str, paths: Paths) -> str:
    """The secret of the first of these copies."""
    return next((paths[store, name] for name in remotes if (store, name) in paths), "")


def _failing(path: str, store: str, name: str, message: str, error: KeyturnError, slot: str = "") -> Result:
    """The result for a failed restart."""
    return Result(RESTART, path, store, name, str(CopyState.FAILED), message, type(error).__name__, slot=slot)


def remarks(workspace: Workspace, planned: Plan) -> list[str]:
    """Remarks on users that are not restarted, or still in a rollout."""
    lines = []
    for store, names in sorted(scope(workspace, planned).items()):
        try:
            workloads = restarts(workspace, store)
            rollouts = workloads.rollouts(names) if workloads else ()
            lines += [f"{store}: {describe_rollout(rollout)}" for rollout in rollouts if describe_rollout(rollout)]
        except KeyturnError as error:
            lines.append(f"{store}: it is unknown whether workloads are restarted: {error}")
    return lines


def describe_rollout(rollout: Rollout) -> str:
    """A rollout for people, empty if it is finished."""
    words = {
        RolloutState.FINISHED: "",
        RolloutState.OWED: f"who uses {', '.join(rollout.remotes)} is not restarted yet: the next sync does it",
        RolloutState.ROLLING: f"{rollout.workload} is not done with its rollout: {rollout.told}",
        RolloutState.FAILED: f"the restart of {rollout.workload} has failed: {rollout.told}",
    }
    return words[rollout.state]
