"""A plan carried out: who does which part, what one run may delete, and what is remembered of it."""

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
"""So many of the copies that have moved are named."""


class Executor(Protocol):
    """Who applies items. ``report`` is called for each as it is done, from any thread."""

    def __call__(self, items: Sequence[Item], report: ReportResult) -> None:
        """Returns when all of them are done."""


def local_executor(applier: Applier) -> Executor:
    """Applies items in threads of this process: some for each store, so that none waits for another."""

    def execute(items: Sequence[Item], report: ReportResult) -> None:
        with Crew(applier) as crew:
            for same in by_store(items).values():
                crew.take(same, report)

    return execute


def by_store(items: Sequence[Item]) -> dict[str, list[Item]]:
    """The items of each store, in their order."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.store].append(item)
    return groups


def work_of(workspace: Workspace, planned: Plan) -> list[Item]:
    """What is done now: writes first, then the deletions whose delay is over, no more of them than a store allows."""
    now, deletions = workspace.clock(), by_store([item for item in planned.work if item.action is Action.DELETE])
    ready = {store: [item for item in items if deletion_due(item, now)] for store, items in deletions.items()}
    capped = [
        item for store, items in ready.items() for item in items[: workspace.catalogue.store(store).most_deletions]
    ]
    return [item for item in planned.work if item.action is not Action.DELETE] + capped


def insist_on(workspace: Workspace, planned: Plan) -> Plan:
    """The plan as it would be made now. Raises Conflict where that is not the same work."""
    now = plan(workspace, planned.paths, deep=planned.deep)
    if changes := [
        *moved(planned.work, now.items),
        *(f"{item.label} has become {item.action}" for item in new(planned, now)),
    ]:
        more = f", and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        problem = "; ".join(changes[:SHOWN]) + more
        raise Conflict("apply", "the plan", problem, "Nothing was done. Look at a new one: keyturn plan -o FILE")
    return planned


def new(planned: Plan, now: Plan) -> list[Item]:
    """Work that a plan did not have."""
    spots = {(item.store, item.slot) for item in planned.work}
    return [item for item in now.work if (item.store, item.slot) not in spots]


def carry_out(
    workspace: Workspace, planned: Plan, execute: Executor, report: ReportResult = lambda _: None, *, heals: bool = True
) -> list[Result]:
    """Apply a plan, restart who uses what was written, and remember what became of it.

    Errors are in the results, none is raised for a copy. ``report`` is told of copies alone. One that ``heals``
    restarts for what others have written, too: they may have died before that.
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
    """Keep each store's standing, for `keyturn status` and for the delay of deletions; note what was brought back."""
    for store, change in changes(planned, results).items():
        store_status.record_change(workspace, store, change)
    for path, version in caught_up(planned).items():
        if current := workspace.hub.read(path):
            overtake(workspace, current, version)


def caught_up(planned: Plan) -> dict[str, int]:
    """The secrets whose copies name lost versions, and hold what the hub holds: somebody has brought it back."""
    held: dict[str, int] = {}
    for item in planned.items:
        if item.action is Action.IN_SYNC and item.version and item.holds > item.version:
            held[item.path] = max(item.holds, held.get(item.path, 0))
    return held


def changes(planned: Plan, results: Sequence[Result]) -> dict[str, StatusChange]:
    """What a run has learnt, store by store."""
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
    """What of restarts has failed that is no copy's failure, by store and by the workload's name."""
    copies, failures = {(item.store, item.name) for item in planned.items}, defaultdict[str, dict[str, Failing]](dict)
    for result in results:
        if result.action == RESTART and (result.store, result.name) not in copies:
            failures[result.store][result.name] = Failing(result.path, result.kind, result.error, "")
    return failures


def failing_copies(planned: Plan, results: Sequence[Result]) -> dict[str, Failing]:
    """Every copy that a run could not bring in step, and every restart that has failed, by store and name.

    Not those it was to leave alone.
    """
    done = {(result.store, result.slot): result for result in results}
    ours = [item for item in planned.items if not item.hands_off]
    failures = {f"{item.store}:{item.slot}": failing_of(item, done.get((item.store, item.slot))) for item in ours}
    workloads = of_workloads(planned, results).items()
    restarts = {f"{store}:{name}": failure for store, broken in workloads for name, failure in broken.items()}
    return {label: failure for label, failure in failures.items() if failure} | restarts


def failing_of(item: Item, done: Result | None) -> Failing | None:
    """Why a copy is not in step after a run; None where it is, or where its deletion waits."""
    if done is not None:
        return Failing(item.path, done.kind, done.error, "") if done.error else None
    if item.action in (Action.IN_SYNC, Action.DELETE):
        return None
    kind = item.kind or str(item.action)
    return Failing(item.path, kind, item.why or f"not done: {item.action}", "")


def count_states(planned: Plan, results: Sequence[Result]) -> dict[str, int]:
    """How many copies are in which state after a run."""
    done = {(result.store, result.slot): result.state for result in results}
    counts: dict[str, int] = defaultdict(int)
    for item in planned.items:
        untouched = str(CopyState.IN_STEP) if item.action is Action.IN_SYNC else str(item.action)
        counts[done.get((item.store, item.slot), untouched)] += 1
    return dict(counts)
