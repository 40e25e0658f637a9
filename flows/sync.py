"""Bring every copy in sync with the hub, and notify consumers of manual changes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from prefect.logging import get_run_logger

from flows.support.common import BATCH, begins, flow, in_batches, well, workspace
from flows.support.pictures import draw, list_all
from flows.support.progress import Progress
from flows.support.report import notice_rows, sync_rows, table
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.plan import Item, Plan
from keyturn.project.runs.result import leave_result
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Result
from keyturn.sync.notices import Notices, unheard
from keyturn.sync.report import SyncReport, seen_copies
from keyturn.sync.run import by_store, count_states, failing_copies, work_of
from keyturn.sync_processes.executor import executor
from tasks import sync as tasks
from tasks.step import look

AT_ONCE = 4
"""Concurrent batches of one store."""


@flow("sync", timeout=timedelta(hours=2), looks=True)
async def sync(path: str | None = None, deep: bool = False) -> dict[str, int]:
    """Write differing copies of the secrets that match ``path``, or of all; the count of each state.

    Consumers are notified of a version without a rotation, once its copies are in sync. ``deep`` reads each copy, and
    so finds changes that some stores' listings hide.
    """
    opened = await workspace()
    planned = await look(tasks.make_plan, [path] if path else [], deep)
    for remark in planned.remarks:
        get_run_logger().warning(remark)
    if work_of(opened, planned):
        begins()
    results = [*await carry_out(opened, planned), *await restarted(planned)]
    counts = count_states(planned, results)
    await look(tasks.remember, planned, results)
    notices = await told(planned, results)
    text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    await table("sync", [*notice_rows(notices), *sync_rows(planned, results)], text)
    await show_changed(planned, results, notices)
    await leave_result(SyncReport.after(planned, results, notices).to_result())
    raise_behind(planned, results)
    if silent := unheard(notices):
        raise silent
    return well(text or "no copy is declared", counts)


async def show_changed(planned: Plan, results: Sequence[Result], notices: Notices) -> None:
    changed = {result.path for result in results} | {notice.path for notice in notices.told}
    await draw({path: copies for path, copies in seen_copies(planned, results).items() if path in changed})
    if not planned.paths and (changed or planned.deep):
        await list_all()


async def has_work() -> bool:
    """Whether a run would change or report something; if not, the observations are stored."""
    opened, planned = await workspace(), await look(tasks.make_plan, [], False)
    for remark in planned.remarks:
        get_run_logger().warning(remark)
    restarts = await look(tasks.restart_owed, planned)
    if restarts or work_of(opened, planned):
        return True
    results = await look(tasks.restart_all, planned)
    owing = await look(tasks.owing, planned, results)
    if failing_copies(planned, results) or owing.paths or unheard(Notices(errors=owing.errors)):
        return True
    await look(tasks.remember, planned, results)
    return False


async def told(planned: Plan, results: list[Result]) -> Notices:
    """The notified consumers and the failures; a failure hides no results of copies."""
    try:
        owing = await look(tasks.owing, planned, results)
    except KeyturnError as error:
        return Notices(errors={"secrets with consumers": error})
    if not owing.paths:
        return Notices(errors=owing.errors)
    begins()
    try:
        notices = await tasks.notify_consumers(list(owing.paths))
    except KeyturnError as error:
        return Notices(errors={**owing.errors, **dict.fromkeys(owing.paths, error)})
    return replace(notices, errors={**owing.errors, **notices.errors})


async def carry_out(opened: Workspace, planned: Plan) -> list[Result]:
    work = work_of(opened, planned)
    progress = Progress("sync-progress", len(work), "copies to write", few=BATCH)
    await progress.begin()
    with executor(opened, len(work)) as execute:

        async def batch(items: list[Item], places: asyncio.Semaphore) -> list[Result]:
            async with places:
                done = await tasks.apply_batch(items, execute)
                await progress.add(len(items))
                return done

        async def one_store(items: Sequence[Item]) -> list[Result]:
            places = asyncio.Semaphore(AT_ONCE)
            done = await asyncio.gather(*(batch(some, places) for some in in_batches(items, BATCH)))
            return [result for results in done for result in results]

        stores = await asyncio.gather(*map(one_store, by_store(work).values()))
    await progress.finish()
    return [result for results in stores for result in results]


async def restarted(planned: Plan) -> list[Result]:
    """Restart the users of written copies; without restarts there is no task."""
    if not await look(tasks.restart_owed, planned):
        return await look(tasks.restart_all, planned)
    begins()
    return await tasks.restart_all(planned)


def raise_behind(planned: Plan, results: Sequence[Result]) -> None:
    behind = failing_copies(planned, results)
    if behind:
        rest = "All others are in sync; the" if len(behind) < len(planned.items) else "Fix the cause: the"
        hint = f"{rest} next run repairs only these"
        text = "; ".join(f"{label} of {failure.path} ({failure.error})" for label, failure in behind.items())
        raise TransientError("sync", f"{len(behind)} of {len(planned.items)} copies", text, hint)
