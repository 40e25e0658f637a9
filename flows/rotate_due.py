"""Find what is due and rotate it, one task a secret."""

from itertools import chain

from prefect import flow

from flows.common import BATCH, chosen, each, in_batches, raise_failures, slot, workspace
from flows.report import outcome_row, table
from keyturn.core.policy import Trigger
from keyturn.rotation.run import Outcome
from tasks import rotation as tasks


@flow(name="rotate-due", persist_result=False, log_prints=False)
async def rotate_due() -> int:
    """Rotate every secret that is due; one that fails never stops another. The number of secrets turned."""
    opened = await workspace()
    found = [await tasks.find_due(batch) for batch in in_batches(chosen(opened, None), BATCH)]
    due = list(chain.from_iterable(found))

    async def turn(path: str) -> Outcome:
        async with slot(opened, path):
            return await tasks.rotate_whole(path, Trigger.SCHEDULE)

    results = await each(due, turn)
    await table("rotate-due", [outcome_row(*row) for row in results.items()], f"{len(due)} secrets were due")
    raise_failures("rotate", results)
    return len(due)
