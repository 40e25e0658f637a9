"""End old credentials whose grace is over, on evidence that nobody needs them."""

from datetime import timedelta
from itertools import chain

from flows.common import BATCH, chosen, each, in_batches, raise_failures, runbook, workspace
from flows.report import retirement_row, table
from keyturn.rotation.settle import Retirement, Waive
from tasks import rotation as tasks


@runbook("retire", timeout=timedelta(hours=1))
async def retire(path: str | None = None, waive: Waive = Waive.NOTHING) -> list[Retirement]:
    """Retire what can be; what holds the rest is shown. Waiving the grace still asks for the evidence."""
    opened = await workspace()
    found = [await tasks.find_unretired(batch) for batch in in_batches(chosen(opened, path), BATCH)]
    results = await each(list(chain.from_iterable(found)), lambda secret: tasks.retire_one(secret, waive))
    await table("retire", [retirement_row(*row) for row in results.items()], f"{len(results)} old credentials")
    raise_failures("retire", results)
    return [result for result in results.values() if isinstance(result, Retirement)]
