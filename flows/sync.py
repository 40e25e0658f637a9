"""Bring every destination to CURRENT, whether or not anything was rotated."""

from collections import Counter

from flows.common import BATCH, chosen, in_batches, runbook, workspace
from flows.report import push_row, table
from keyturn.core.errors import TransientError
from keyturn.rotation.sync import Pushed
from tasks import rotation as tasks


@runbook("sync")
async def sync(path: str | None = None) -> dict[str, int]:
    """Write what differs, leave what is in step; one secret, or all. How many copies are in which state."""
    opened = await workspace()
    places: list[tuple[str, Pushed]] = []
    for batch in in_batches(chosen(opened, path), BATCH):
        done = await tasks.sync_batch(batch)
        places += [(secret, place) for secret, pushed in done.items() for place in pushed]
    counts = dict(Counter(str(place.state) for _, place in places))
    await table("sync", [push_row(*row) for row in places], ", ".join(f"{n} {state}" for state, n in counts.items()))
    raise_behind(places)
    return counts


def raise_behind(places: list[tuple[str, Pushed]]) -> None:
    """End the run as failed when a copy could not be brought in step, naming each."""
    behind = [f"{place.store}:{place.name} of {path} ({place.error})" for path, place in places if not place.in_step]
    if behind:
        hint = "All the others are in step; the next run heals only these"
        raise TransientError("sync", f"{len(behind)} of {len(places)} copies", "; ".join(behind), hint)
