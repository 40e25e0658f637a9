"""End old credentials whose grace is over, on evidence that nobody needs them."""

from datetime import timedelta

from flows.common import chosen, each, raise_failures, runbook, workspace
from flows.report import retirement_row, table
from keyturn.rotation.previous import Retirement
from keyturn.rotation.settle import Waive
from tasks import rotation as tasks


@runbook("retire", timeout=timedelta(hours=1))
async def retire(path: str | None = None, waive: Waive = Waive.NOTHING) -> list[Retirement]:
    """Retire what can be; what holds the rest is shown. Waiving the grace still asks for the evidence."""
    opened = await workspace()
    found = await tasks.find_unretired(chosen(opened, path))
    results = await each(found, lambda secret: tasks.retire_one(secret, waive))
    await table("retire", [retirement_row(*row) for row in results.items()], f"{len(results)} old credentials")
    raise_failures("retire", results)
    return [result for result in results.values() if isinstance(result, Retirement)]
