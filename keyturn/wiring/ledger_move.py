"""Moves to a new ledger, and records the move in both ledgers and the hub."""

import socket
from collections.abc import Callable, Mapping
from datetime import datetime

from keyturn.core.actor import acting
from keyturn.core.errors import Invalid
from keyturn.core.ports.hub import Hub
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.checkpointer import CheckpointInHub
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.naming import NOWHERE, LedgerName, insist_on_named, move_name, read_name
from keyturn.ledger.ports import StoredLedger
from keyturn.providers.ledger.address import VARIABLE, first_name, given_name, open_ledger, recorded_place
from keyturn.wiring.ledger import make_checkpoint

ACTION = "move ledger"


def move_ledger(
    hub: Hub, old: StoredLedger | None, new: StoredLedger, reason: str, clock: Callable[[], datetime]
) -> LedgerName:
    """Make the hub name ``new``, record the move in both, and sign the last entry of ``old``. Safe to repeat.

    ``old`` is None where it is lost. Raises Invalid where the hub does not name ``old``, and what the hub and the
    ledgers raise.
    """
    name, _ = read_name(hub)
    if name and name.origin == new.origin:
        return name
    note = f"from {_leave(hub, old, new, reason, clock)}: {reason}"
    new.append([_entry(hub, Outcome.BEGUN, new.origin, note, clock)])
    size = old.size() if old else _covered(hub, name)
    moved = move_name(hub, new, size, clock(), recorded_place(new.address))
    new.append([_entry(hub, Outcome.DONE, new.origin, note, clock)])
    return moved


def new_ledger(name: LedgerName | None, env: Mapping[str, str]) -> StoredLedger:
    """The ledger at KEYTURN_LEDGER to move to. Raises Invalid where it is unset or has the old name."""
    address = env.get(VARIABLE, "")
    if not address:
        raise Invalid("move to", "the new ledger", "KEYTURN_LEDGER is not set", "Set it to the new ledger's address")
    place, taken = recorded_place(address), {name.origin, *(ledger.origin for ledger in name.before)} if name else set()
    if name and place == name.place:
        return open_ledger(address, origin=name.origin)
    explicit, first = given_name(env), first_name(env)
    if name and explicit == name.origin and name.place != NOWHERE:
        hint = "Set KEYTURN_LEDGER_NAME to a new name, or unset it"
        raise Invalid("move to", f"the ledger {place.words}", f"{explicit} is the name of the one that is left", hint)
    names = (first, *(f"{first}-{number}" for number in range(2, len(taken) + 3)))
    return open_ledger(address, origin=explicit or next(free for free in names if free not in taken))


def _leave(hub: Hub, old: StoredLedger | None, new: StoredLedger, reason: str, clock: Callable[[], datetime]) -> str:
    """Write and sign the old ledger's last entry, and return the text for the new one."""
    name, _ = read_name(hub)
    if name is None:
        raise Invalid("move to", new.origin, "the hub names no ledger yet", "Use it: the first use names it")
    if old is None:
        return f"{name.origin}, which is lost; its newest checkpoint covers {_covered(hub, name)} entries"
    if old.origin != name.origin:
        hint = "Give its address in --from"
        raise Invalid("move from", old.origin, f"the hub names {name.origin}", hint)
    insist_on_named(hub, old)
    old.append([_entry(hub, Outcome.DONE, new.origin, f"what follows is in {new.origin}: {reason}", clock)])
    make_checkpoint(hub, old, clock)
    return f"{name.origin} after {old.size()} entries"


def _covered(hub: Hub, name: LedgerName | None) -> int:
    """The number of entries under the hub's checkpoint of a ledger."""
    note, _ = CheckpointInHub(hub, name.origin).read() if name else ("", 0)
    return read_checkpoint(note).size if note else 0


def _entry(hub: Hub, outcome: Outcome, place: str, note: str, clock: Callable[[], datetime]) -> Entry:
    """An entry about the move. The hub's identity of the login is the actor."""
    run = acting.get()
    host = socket.gethostname()
    actor = hub.identity().words
    return Entry(clock(), actor, ACTION, outcome, place=place, note=note, run=run.remark if run else "", host=host)
