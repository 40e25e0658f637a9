"""Maintain the ledger: append pending entries, sign a checkpoint, and forward new entries."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from prefect.events import emit_event

from flows.support.common import flow, well, workspace
from flows.support.own_login import keep_login
from flows.support.report import Row, table
from flows.support.starting import LEDGER_KEEPER, start_at_next_mark
from keyturn.core.errors import KeyturnError, Rewritten
from keyturn.core.workspaces import LEDGER
from keyturn.ledger.forwarding import Forwarded
from tasks import ledger as tasks
from tasks.step import look
from tasks.workspace import names

REWRITTEN: Final = "keyturn.ledger.rewritten"
UNWITNESSED: Final = "keyturn.ledger.unwitnessed"
"""A witness did not cosign: it is down or saw another history."""
BEHIND: Final = "keyturn.ledger.behind"


@dataclass(frozen=True)
class Kept:
    """The result of one run; ``life`` if the run itself left a sign of life to sign."""

    name: str
    drained: tasks.Drained
    signed: tasks.Signed
    forwarded: tuple[Forwarded, ...]
    life: bool = False

    @property
    def news(self) -> int:
        """Newly covered entries, without the run's own."""
        return self.signed.fresh - self.life if self.signed.new else 0


@flow("keep-ledger", timeout=timedelta(minutes=30), looks=True)
async def keep_ledger() -> Kept:
    """Append the spool's entries, sign a checkpoint, and forward. Safe to run again.

    Without new entries it signs only a sign of life twice a day. Another run follows while entries are new, or a
    witness or collector lacks them. A changed history fails the run, but new entries are still forwarded. An
    unreachable collector fails no run and is reported hourly.
    """
    await workspace()
    name = tasks.ledger_name()
    drained = await look(tasks.drain, name)
    life = await look(tasks.show_life, name)
    signed = await checkpointed(name)
    forwarded = await asyncio.gather(*(tasks.forward_to.fn(collector) for collector in tasks.collector_names()))
    state = signed if isinstance(signed, tasks.Signed) else tasks.Signed(0)
    result = Kept(name, drained, state, tuple(forwarded), life)
    await keep_login(LEDGER_KEEPER)
    if goes_on(result):
        await start_at_next_mark(LEDGER_KEEPER)
    tell_behind(result)
    tell_unwitnessed(result)
    if remarkable(result, signed):
        await table("keep-ledger", rows(result, signed), described(result))
    if isinstance(signed, KeyturnError):
        raise signed
    return well(", ".join(f"{row['what']}: {row['state']}" for row in rows(result, signed)), result)


def remarkable(result: Kept, signed: tasks.Signed | KeyturnError) -> bool:
    if isinstance(signed, KeyturnError) or result.drained.entries or result.drained.torn:
        return True
    if any(outcome.error for outcome in signed.witnessed):
        return True
    return result.news > 0 or any(forwarded.error for forwarded in result.forwarded)


def goes_on(result: Kept) -> bool:
    errors = [outcome.error for outcome in result.signed.witnessed] + [sent.error for sent in result.forwarded]
    return result.news > 0 or any(errors)


async def checkpointed(name: str) -> tasks.Signed | KeyturnError:
    try:
        return await look(tasks.checkpoint, name)
    except KeyturnError as error:
        if isinstance(error, Rewritten):
            emit_event(REWRITTEN, resource=resource(name), payload={"ledger": name, "why": str(error)})
        return error


def tell_behind(result: Kept) -> None:
    for forwarded in result.forwarded:
        if forwarded.error:
            why = f"{waiting(forwarded)}: {forwarded.error}"
            payload = {"ledger": result.name, "collector": forwarded.collector, "why": why}
            emit_event(BEHIND, resource=resource(f"{result.name}/{forwarded.collector}"), payload=payload)


def tell_unwitnessed(result: Kept) -> None:
    for outcome in result.signed.witnessed:
        if outcome.error:
            payload = {"ledger": result.name, "witness": outcome.witness, "why": str(outcome.error)}
            emit_event(UNWITNESSED, resource=resource(f"{result.name}/{outcome.witness}"), payload=payload)


def resource(name: str) -> dict[str, str]:
    return {"prefect.resource.id": names().resource(LEDGER, name)}


def rows(result: Kept, signed: tasks.Signed | KeyturnError) -> list[Row]:
    drained = f"{result.drained.entries} entries that had waited were appended" if result.drained.entries else "empty"
    lines: list[Row] = [{"what": "spool", "state": "; ".join((drained, *result.drained.torn))}]
    lines.append({"what": "checkpoint", "state": checkpoint_state(signed)})
    lines += [
        {
            "what": f"witness {outcome.witness}",
            "state": f"not cosigned: {outcome.error}" if outcome.error else "cosigned",
        }
        for outcome in result.signed.witnessed
    ]
    return lines + [
        {"what": forwarded.collector, "state": collector_state(forwarded)} for forwarded in result.forwarded
    ]


def checkpoint_state(signed: tasks.Signed | KeyturnError) -> str:
    if isinstance(signed, KeyturnError):
        return str(signed)
    covers = f"{signed.size} entries" if signed.size else "the ledger is empty"
    return (
        f"made over {covers}" if signed.new else f"nothing new since the one over {covers}" if signed.size else covers
    )


def collector_state(forwarded: Forwarded) -> str:
    idle = "nothing sent" if forwarded.error else "has everything"
    sent = f"{forwarded.sent} entries sent" if forwarded.sent else idle
    return f"{sent}, {waiting(forwarded)}: {forwarded.error}" if forwarded.error else sent


def waiting(forwarded: Forwarded) -> str:
    since = f" since {forwarded.oldest:%Y-%m-%d %H:%M} UTC" if forwarded.oldest else ""
    return f"{forwarded.waiting} entries wait{since}"


def described(result: Kept) -> str:
    note = result.signed.note
    return f"{result.name}\n\n```\n{note}```" if note else result.name
