"""Find what is due and rotate it, one task a secret."""

import asyncio
from copy import copy
from itertools import chain

from flows.common import BATCH, at_target, by_target, chosen, each, in_batches, raise_failures, runbook, workspace
from flows.report import outcome_row, table
from keyturn.core.errors import KeyturnError
from keyturn.core.policy import Trigger
from keyturn.rotation.run import Outcome
from tasks import rotation as tasks


@runbook("rotate-due")
async def rotate_due() -> int:
    """Rotate every secret that is due; one that fails never stops another. The number of secrets turned."""
    opened = await workspace()
    found = [await tasks.find_due(batch) for batch in in_batches(chosen(opened, None), BATCH)]
    due = list(chain.from_iterable(found))

    groups = by_target(opened, due).items()
    turned = await asyncio.gather(*(rotate_at(target, paths) for target, paths in groups))
    results = {path: outcome for group in turned for path, outcome in group.items()}
    await table("rotate-due", [outcome_row(*row) for row in results.items()], f"{len(due)} secrets were due")
    raise_failures("rotate", results)
    return len(due)


async def rotate_at(target: str | None, paths: list[str]) -> dict[str, Outcome | KeyturnError]:
    """The due secrets of one target, a few at a time; without its place none of them."""
    try:
        async with at_target(target):
            return await each(paths, lambda path: tasks.rotate_whole(path, Trigger.SCHEDULE))
    except KeyturnError as error:
        return {path: copy(error).during("rotate", path) for path in paths}
