"""The ledger's maintenance as tasks, with the ledger and collectors of the worker's environment."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.forwarding import Forwarded, forward
from keyturn.ledger.freshness import SIGN_OF_LIFE
from keyturn.ledger.naming import read_name
from keyturn.ledger.signed_notes import signatures_of
from keyturn.ledger.storage.spool import Spooled
from keyturn.ledger.storage.waiting import waiting_in_hub
from keyturn.ledger.witness.requests import Witnessed
from keyturn.providers.ledger.collectors import collectors
from keyturn.rotation.state.journal import entry, note_down
from keyturn.wiring.ledger import (
    environment_witnesses,
    make_checkpoint,
    named_ledger,
    reached_ledger,
    spool_file,
)
from tasks.step import task
from tasks.workspace import current_workspace

ACTION: Final = "keep ledger"

ITSELF: Final = 0


@dataclass(frozen=True)
class Drained:
    """The number of appended pending entries, and the unreadable ones."""

    entries: int
    torn: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signed:
    """The newest checkpoint: its size in entries and its note; ``new`` if it was made now.

    ``fresh`` is the number of newly covered entries.
    """

    size: int
    note: str = ""
    new: bool = False
    fresh: int = 0
    witnessed: tuple[Witnessed, ...] = ()


def ledger_name() -> str:
    """The name in the checkpoints of the hub's ledger. Raises Invalid."""
    with closing(reached_ledger(os.environ, current_workspace().hub)) as stored:
        return stored.origin


def collector_names() -> list[str]:
    return [collector.name for collector in collectors(os.environ)]


@task("hub", called=lambda _: "hub")
def find_hub(hub: str) -> None:
    """Read the ledger's name from the hub. Raises Unavailable, Denied."""
    read_name(current_workspace().hub)


@task("drain")
def drain(ledger: str) -> Drained:
    """Append the entries that wait in the hub and on this machine. Raises Unrecorded if the ledger takes none."""
    torn: list[str] = []

    def note(_: Sequence[Entry], why: str) -> None:
        torn.append(why)

    with closing(named_ledger(os.environ, current_workspace().hub)) as stored:
        entries = Spooled(stored, spool_file(os.environ), note, current_workspace().hub).drain()
    note_down(current_workspace(), [entry(current_workspace(), "drain", Outcome.FAILED, note=why) for why in torn])
    return Drained(entries, tuple(torn))


@task("look at ledger")
def needs_upkeep(ledger: str) -> str:
    """Why maintenance is needed, as far as this machine knows; empty if it is not."""
    with closing(reached_ledger(os.environ, current_workspace().hub)) as stored:
        newest, size = stored.newest(), stored.size()
    made = read_checkpoint(newest) if newest else None
    if (fresh := size - (made.size if made else 0)) > 0:
        return f"no checkpoint covers {fresh} entries yet"
    if is_spooled() or waiting_in_hub(current_workspace().hub):
        return "entries wait to be recorded"
    return "its newest checkpoint is old" if made and is_old(made.time) else ""


def is_spooled() -> bool:
    file = spool_file(os.environ)
    return file.exists() and file.stat().st_size > 0


def is_old(made_at: datetime | None) -> bool:
    return made_at is None or current_workspace().clock() - made_at >= SIGN_OF_LIFE


@task("show life")
def show_life(ledger: str) -> bool:
    """Append an entry to sign, if nothing is new and the newest checkpoint is old or lacks a witness.

    Raises Unrecorded.
    """
    with closing(reached_ledger(os.environ, current_workspace().hub)) as stored:
        newest, size = stored.newest(), stored.size()
    made = read_checkpoint(newest) if newest else None
    if made is None or size > made.size:
        return False
    lacking = len(signatures_of(newest)) - 1 < len(environment_witnesses(os.environ).ports)
    if not (lacking or is_old(made.time)):
        return False
    note = "asks for the cosignatures that the newest checkpoint lacks" if lacking else "nothing was new"
    note_down(current_workspace(), [entry(current_workspace(), ACTION, Outcome.DONE, note=note)])
    return True


@task("checkpoint")
def checkpoint(ledger: str) -> Signed:
    """Sign a checkpoint if entries are new. Raises Rewritten if the history was changed."""
    with closing(reached_ledger(os.environ, current_workspace().hub)) as stored:
        before = stored.newest()
        witnesses = environment_witnesses(os.environ)
        made = make_checkpoint(current_workspace().hub, stored, current_workspace().clock, witnesses)
        note = made.note if made else before
    newest = read_checkpoint(note) if note else None
    covered = read_checkpoint(before).size if before else 0
    if newest is None:
        return Signed(0)
    return Signed(newest.size, note, made is not None, newest.size - covered, tuple(witnesses.outcomes))


@task("forward", retries=ITSELF)
def forward_to(collector: str) -> Forwarded:
    """Send the collector the missing entries; an error is part of the result."""
    (receiver,) = (candidate for candidate in collectors(os.environ) if candidate.name == collector)
    with closing(reached_ledger(os.environ, current_workspace().hub)) as stored:
        return forward(stored, current_workspace().hub, receiver)
