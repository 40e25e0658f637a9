"""Writing down what is done: before it is begun, and how it ended. Where that can't be written, nothing is begun."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from keyturn.core.acting import Acting, acting
from keyturn.core.errors import Denied, KeyturnError, Unrecorded
from keyturn.core.ledger import Entry, Outcome
from keyturn.rotation.context import Keyturn


@dataclass
class Doing:
    """One action under way: what its last entry tells may be filled in meanwhile."""

    version: int = 0
    fingerprint: str = ""
    note: str = ""


@contextmanager
def recorded(
    keyturn: Keyturn, action: str, secret: str = "", *, place: str = "", note: str = "", changes: bool = True
) -> Iterator[Doing]:
    """Write that ``action`` begins, and then how it ended. Raises Unrecorded before anything is done, or after it.

    One that only looks, and ``changes`` nothing, is written once it has ended. An error that ends the action is written
    in its own words, which hold names alone, and raised on.
    """
    begun = entry(keyturn, action, Outcome.BEGUN, secret, place=place, note=note)
    if changes:
        keyturn.ledger.append([begun])
    doing = Doing(note=note)
    try:
        yield doing
    except KeyturnError as error:
        outcome = Outcome.DENIED if isinstance(error, Denied) else Outcome.FAILED
        _ended(keyturn, begun, doing, outcome, f"{type(error).__name__}: {error.problem}")
        raise
    except BaseException as error:
        _ended(keyturn, begun, doing, Outcome.FAILED, type(error).__name__)
        raise
    keyturn.ledger.append([_last(keyturn, begun, doing, Outcome.DONE, doing.note)])


def note_down(keyturn: Keyturn, entries: Sequence[Entry]) -> None:
    """Write what needs no beginning: an observation, or many actions announced together. Raises Unrecorded."""
    if entries:
        keyturn.ledger.append(entries)


def entry(
    keyturn: Keyturn,
    action: str,
    outcome: Outcome,
    secret: str = "",
    *,
    version: int = 0,
    fingerprint: str = "",
    place: str = "",
    note: str = "",
) -> Entry:
    """An entry of this moment, by whoever is at work here."""
    who = acting.get() or Acting(f"process {os.getpid()}")
    return Entry(
        keyturn.clock(),
        who.actor,
        action,
        outcome,
        secret,
        version,
        fingerprint,
        place,
        note,
        who.run,
        socket.gethostname(),
    )


def _ended(keyturn: Keyturn, begun: Entry, doing: Doing, outcome: Outcome, why: str) -> None:
    # What went wrong matters more to the caller than a ledger that went away meanwhile.
    with suppress(Unrecorded):
        keyturn.ledger.append([_last(keyturn, begun, doing, outcome, why)])


def _last(keyturn: Keyturn, begun: Entry, doing: Doing, outcome: Outcome, note: str) -> Entry:
    return replace(
        begun,
        time=keyturn.clock(),
        outcome=outcome,
        version=doing.version,
        fingerprint=doing.fingerprint,
        note=note,
    )
