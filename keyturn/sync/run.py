"""Apply a plan: distribute the work, limit deletions, and record the results."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from keyturn.core.errors import Conflict
from keyturn.core.plan import Action, Item, Plan, moved
from keyturn.rotation.copies import store_status
from keyturn.rotation.copies.lineage_check import overtake
from keyturn.rotation.copies.push import CopyState
from keyturn.rotation.copies.store_status import Failing, StatusChange
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier, Result
from keyturn.sync.journal import Written
from keyturn.sync.orphans import deletion_due
from keyturn.sync.plan import plan
from keyturn.sync.restarts import RESTART, restart_all
from keyturn.sync.threads import Crew, ReportResult

SHOWN: Final = 5
"""Changed copies that an error names."""


class Executor(Protocol):
    """Applies items. ``report`` is called for each, from any thread."""

    def __call__(self, items: Sequence[Item], report: ReportResult) -> None:
        """Apply all items and return once they are done."""


def local_executor(applier: Applier) -> Executor:
    """An executor with separate threads of this process for each store."""

    def execute(items: Sequence[Item], report: ReportResult) -> None:
        with Crew(applier) as crew:
            for same in by_store(items).values():
                crew.take(same, report)

    return execute


def by_store(items: Sequence[Item]) -> dict[str, list[Item]]:
    """The items of each store, in order."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.store].append(item)
    return groups


def work_of(workspace: Workspace, planned: Plan) -> list[Item]:
    """The work to do now: writes, then due deletions up to each store's limit."""
    now, deletions = workspace.clock(), by_store([item for item in planned.work if item.action is Action.DELETE])
    ready = {store: [item for item in items if deletion_due(item, now)] for store, items in deletions.items()}
    capped = [
        item for store, items in ready.items() for item in items[: workspace.catalogue.store(store).most_deletions]
    ]
    return [item for item in planned.work if item.action is not Action.DELETE] + capped


def insist_on(workspace: Workspace, planned: Plan) -> Plan:
    """Return the plan. Raises Conflict if its work has changed."""
    now = plan(workspace, planned.paths, deep=planned.deep)
    if changes := [
        *moved(planned.work, now.items),
        *(f"{item.label} has become {item.action}" for item in new(planned, now)),
    ]:
        more = f", and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        problem = "; ".join(changes[:SHOWN]) + more
        raise Conflict("apply", "the plan", problem, "Nothing was done. Look at a new one: keyturn plan --out FILE")
    return planned


def new(planned: Plan, now: Plan) -> list[Item]:
    """The work that the old plan lacks."""
    spots = {(item.store, item.slot) for item in planned.work}
    return [item for item in now.work if (item.store, item.slot) not in spots]


def carry_out(
    workspace: Workspace, planned: Plan, execute: Executor, report: ReportResult = lambda _: None, *, heals: bool = True
) -> list[Result]:
    """Apply a plan, restart the users of what was written, and record the results.

    Errors of copies are in the results and never raised. ``report`` receives copies only. A run that ``heals`` also
    restarts the users of what other runs wrote.
    """
    results: list[Result] = []

    def take(result: Result) -> None:
        results.append(result)
        written.settled(result)
        report(result)

    work = work_of(workspace, planned)
    try:
        with Written(workspace, work) as written:
            execute(work, take)
        results += restart_all(workspace, planned, None if heals else list(results))
    finally:
        record_results(workspace, planned, results)
    return results


def record_results(workspace: Workspace, planned: Plan, results: Sequence[Result]) -> None:
    """Record each store's status, and restored versions."""
    for store, change in changes(planned, results).items():
        store_status.record_change(workspace, store, change)
    for path, version in caught_up(planned).items():
        if current := workspace.hub.read(path):
            overtake(workspace, current, version)


def caught_up(planned: Plan) -> dict[str, int]:
    """The secrets whose copies name lost versions but hold the hub's value."""
    held: dict[str, int] = {}
    for item in planned.items:
        if item.action is Action.IN_SYNC and item.version and item.holds > item.version:
            held[item.path] = max(item.holds, held.get(item.path, 0))
    return held


def changes(planned: Plan, results: Sequence[Result]) -> dict[str, StatusChange]:
    """The changes that a run makes to each store's status."""
    workloads = of_workloads(planned, results)
    done = {(result.store, result.slot): result for result in results}
    learnt: dict[str, StatusChange] = {}
    for store, items in by_store(planned.items).items():
        broken = {item.slot: failure for item in items if (failure := failing_of(item, done.get((store, item.slot))))}
        doomed = {item.slot for item in items if item.action is Action.DELETE and (store, item.slot) not in done}
        in_step = {item.slot for item in items} - broken.keys() - doomed
        broken |= workloads.get(store, {})
        secrets = frozenset(item.path for item in items if item.slot not in doomed and item.path)
        whole = not planned.paths
        learnt[store] = StatusChange(frozenset(in_step), broken, frozenset(doomed), whole, secrets)
    return learnt


def of_workloads(planned: Plan, results: Iterable[Result]) -> dict[str, dict[str, Failing]]:
    """Restart failures without a copy, by store and workload."""
    copies, failures = {(item.store, item.name) for item in planned.items}, defaultdict[str, dict[str, Failing]](dict)
    for result in results:
        if result.action == RESTART and (result.store, result.name) not in copies:
            failures[result.store][result.name] = Failing(result.path, result.kind, result.error, "")
    return failures


def failing_copies(planned: Plan, results: Sequence[Result]) -> dict[str, Failing]:
    """Every unsynced copy and failed restart, by label. Hands-off copies don't count."""
    done = {(result.store, result.slot): result for result in results}
    ours = [item for item in planned.items if not item.hands_off]
    failures = {f"{item.store}:{item.slot}": failing_of(item, done.get((item.store, item.slot))) for item in ours}
    workloads = of_workloads(planned, results).items()
    restarts = {f"{store}:{name}": failure for store, broken in workloads for name, failure in broken.items()}
    return {label: failure for label, failure in failures.items() if failure} | restarts


def failing_of(item: Item, done: Result | None) -> Failing | None:
    """Why a copy is not in sync after a run. A pending deletion is no failure."""
    if done is not None:
        return Failing(item.path, done.kind, done.error, "") if done.error else None
    if item.action in (Action.IN_SYNC, Action.DELETE):
        return None
    kind = item.kind or str(item.action)
    return Failing(item.path, kind, item.why or f"not done: {item.action}", "")


def count_states(planned: Plan, results: Sequence[Result]) -> dict[str, int]:
    """The number of copies in each state after a run."""
    done = {(result.store, result.slot): result.state for result in results}
    counts: dict[str, int] = defaultdict(int)
    for item in planned.items:
        untouched = str(CopyState.IN_STEP) if item.action is Action.IN_SYNC else str(item.action)
        counts[done.get((item.store, item.slot), untouched)] += 1
    return dict(counts)
