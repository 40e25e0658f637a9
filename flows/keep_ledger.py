"""Keep the ledger: append what waits, sign how it stands, and send on what is new."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from prefect.events import emit_event

from flows.common import runbook, well, workspace
from flows.report import Row, table
from keyturn.core.errors import KeyturnError, Rewritten
from keyturn.core.workspaces import LEDGER
from keyturn.ledger.forwarding import Forwarded
from tasks import ledger as tasks
from tasks.step import look
from tasks.workspace import names

REWRITTEN: Final = "keyturn.ledger.rewritten"
"""The event of a ledger whose history was changed."""
OWN: Final = 2
"""Entries that each run of this flow leaves itself."""
BEHIND: Final = "keyturn.ledger.behind"
"""The event of a collector that entries don't reach."""


@dataclass(frozen=True)
class Kept:
    """What was done: the ledger's name, what had waited, the newest checkpoint, and how far each collector is."""

    name: str
    drained: tasks.Drained
    signed: tasks.Signed
    forwarded: tuple[Forwarded, ...]


@runbook("keep-ledger", timeout=timedelta(minutes=30))
async def keep_ledger() -> Kept:
    """Append what waits in the spool, make a checkpoint, and forward. Safe to run again.

    A ledger whose history was changed fails the run; what is new is sent on all the same, since that is when it counts.
    A collector that can't be reached fails no run: it is told once an hour, and what it lacks is sent when it is back.
    """
    await workspace()
    name = tasks.ledger_name()
    drained = await look(tasks.drain, name)
    signed = await checkpointed(name)
    forwarded = await asyncio.gather(*(tasks.forward_to.fn(collector) for collector in tasks.collector_names()))
    kept = Kept(name, drained, signed if isinstance(signed, tasks.Signed) else tasks.Signed(0), tuple(forwarded))
    tell_behind(kept)
    if remarkable(kept, signed):
        await table("keep-ledger", rows(kept, signed), described(kept))
    if isinstance(signed, KeyturnError):
        raise signed
    return well(", ".join(f"{row['what']}: {row['state']}" for row in rows(kept, signed)), kept)


def remarkable(kept: Kept, signed: tasks.Signed | KeyturnError) -> bool:
    """Whether something but the runs of this flow was new, or something is wrong: else no table is left."""
    if isinstance(signed, KeyturnError) or kept.drained.entries or kept.drained.torn:
        return True
    return signed.fresh > OWN or any(one.error for one in kept.forwarded)


async def checkpointed(name: str) -> tasks.Signed | KeyturnError:
    """The newest checkpoint, or why none could be made."""
    try:
        return await look(tasks.checkpoint, name)
    except KeyturnError as error:
        if isinstance(error, Rewritten):
            emit_event(REWRITTEN, resource=resource(name), payload={"ledger": name, "why": str(error)})
        return error


def tell_behind(kept: Kept) -> None:
    """Tell Prefect of every collector that something did not reach; an automation passes it on."""
    for one in kept.forwarded:
        if one.error:
            why = f"{waiting(one)}: {one.error}"
            payload = {"ledger": kept.name, "collector": one.collector, "why": why}
            emit_event(BEHIND, resource=resource(f"{kept.name}/{one.collector}"), payload=payload)


def resource(name: str) -> dict[str, str]:
    """What an event is about."""
    return {"prefect.resource.id": names().resource(LEDGER, name)}


def rows(kept: Kept, signed: tasks.Signed | KeyturnError) -> list[Row]:
    """What was done, a line each."""
    drained = f"{kept.drained.entries} entries that had waited were appended" if kept.drained.entries else "empty"
    found: list[Row] = [{"what": "spool", "state": "; ".join((drained, *kept.drained.torn))}]
    found.append({"what": "checkpoint", "state": checkpoint_state(signed)})
    return found + [{"what": one.collector, "state": collector_state(one)} for one in kept.forwarded]


def checkpoint_state(signed: tasks.Signed | KeyturnError) -> str:
    """How it went with the checkpoint."""
    if isinstance(signed, KeyturnError):
        return str(signed)
    covers = f"{signed.size} entries" if signed.size else "the ledger is empty"
    return (
        f"made over {covers}" if signed.new else f"nothing new since the one over {covers}" if signed.size else covers
    )


def collector_state(one: Forwarded) -> str:
    """How far a collector is."""
    sent = f"{one.sent} entries sent" if one.sent else "nothing sent" if one.error else "has everything"
    return f"{sent}, {waiting(one)}: {one.error}" if one.error else sent


def waiting(one: Forwarded) -> str:
    """How much a collector lacks, and since when."""
    since = f" since {one.oldest:%Y-%m-%d %H:%M} UTC" if one.oldest else ""
    return f"{one.waiting} entries wait{since}"


def described(kept: Kept) -> str:
    """The signed checkpoint, which is one more copy that whoever changes the ledger would have to change."""
    note = kept.signed.note
    return f"{kept.name}\n\n```\n{note}```" if note else kept.name
