"""Writing down what is done: before it is begun, and how it ended. Where that can't be written, nothing is begun.

Each write waits for the disk. So what ends well within :func:`written_together` waits for the next write, and one
action may announce its steps: then each of them is begun by the one entry that was durable before the first.
"""

import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from keyturn.core.actor import Acting, acting
from keyturn.core.errors import Denied, KeyturnError, Unrecorded
from keyturn.core.ports.hub import ENTRIES, with_entry
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.ports.tracing import traced
from keyturn.rotation.state.context import Workspace

UNNAMED: Final = "a login that the hub has not named"
"""The actor where the hub could not be asked, or denied it."""

CATALOGUE: Final = "catalogue "
"""What stands before a catalogue's digest in the note of an opening entry."""

NOTE_LIMIT: Final = 1000
"""Characters that a note may have: :data:`keyturn.ledger.entries.TEXT_LIMIT`."""

OFTEN: Final = 2.0
"""Seconds that an outcome waits for others before it is written."""


@dataclass
class Doing:
    """One action under way: what its last entry tells may be filled in meanwhile."""

    version: int = 0
    fingerprint: str = ""
    note: str = ""


@dataclass
class _Waiting:
    """Outcomes that are written with the next entry; shared by the threads that work for one caller."""

    workspace: Workspace
    entries: list[Entry] = field(default_factory=list)
    since: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def add(self, last: Entry) -> None:
        """Keep this for the next write; what has waited long is written now. Raises Unrecorded."""
        with self.lock:
            self.since = self.since if self.entries else time.monotonic()
            self.entries.append(last)
            late = time.monotonic() - self.since >= OFTEN
        if late:
            self.write()

    def write(self, entries: Sequence[Entry] = ()) -> str:
        """Write what waits and then these; where the last of them stands.

        Raises Unrecorded: what waited waits on, and is tried again.
        """
        with self.lock:
            waiting, self.entries = self.entries, []
        try:
            return note_down(self.workspace, [*waiting, *entries])
        except BaseException:
            with self.lock:
                self.entries = waiting + self.entries
            raise


_waiting: ContextVar[_Waiting | None] = ContextVar("waiting", default=None)
_announced: ContextVar[frozenset[tuple[str, str]]] = ContextVar("announced", default=frozenset())
"""The steps of which secret an entry has announced that is durable."""
_within: ContextVar[bool] = ContextVar("within", default=False)
"""Whether an action is under way here, whose opening entry tells by which catalogue."""
_announced_by: ContextVar[str] = ContextVar("announced_by", default="")
"""Where the entry stands by which what is at work was begun: the ledger's name and a number, empty if unknown."""


def announced_by() -> str:
    """The ledger and the number of the entry by which the action at work here was begun; empty where nobody knows."""
    return _announced_by.get()


def entry_mark(custom: Mapping[str, str], version: int) -> dict[str, str | None]:
    """What the secret's metadata tells of the entry by which ``version`` is written; nothing where nobody knows it."""
    return {ENTRIES: with_entry(custom, version, place)} if (place := announced_by()) else {}


@contextmanager
def written_together(workspace: Workspace) -> Iterator[None]:
    """Let what ends well in here wait for the next write, the end of this at the latest. Raises Unrecorded there.

    What begins is written at once, and so is what fails.
    """
    if _waiting.get():
        yield
        return
    waiting = _Waiting(workspace)
    token = _waiting.set(waiting)
    try:
        yield
    except BaseException:
        with suppress(Unrecorded):
            waiting.write()
        raise
    finally:
        _waiting.reset(token)
    waiting.write()


def write_waiting() -> None:
    """Write what waits, before a pause. Raises Unrecorded."""
    if waiting := _waiting.get():
        waiting.write()


@contextmanager
def record_action(
    workspace: Workspace,
    action: str,
    secret: str = "",
    *,
    place: str = "",
    note: str = "",
    version: int = 0,
    changes: bool = True,
    announcing: Collection[str] = (),
) -> Iterator[Doing]:
    """Write that ``action`` begins, and then how it ended. Raises Unrecorded before anything is done, or after it.

    One that only looks, and ``changes`` nothing, is written once it has ended, and so is a step that another one is
    ``announcing``: that one's own entry says so before the first of them. An error that ends the action is written in
    its own words, which hold names alone, and raised on.
    """
    begun = entry(workspace, action, Outcome.BEGUN, secret, version=version, place=place, note=note)
    position = _announced_by.get()
    if changes and (action, secret) not in _announced.get():
        position = _write(workspace, [begun])
    doing = Doing(version, note=note)
    token = _announced.set(_announced.get() | {(step, secret) for step in announcing})
    outermost = _within.set(True)
    at = _announced_by.set(position)
    try:
        with traced(action, {"keyturn.secret": secret, "keyturn.place": place}):
            yield doing
    except KeyturnError as error:
        outcome = Outcome.DENIED if isinstance(error, Denied) else Outcome.FAILED
        _ended(workspace, begun, doing, outcome, f"{type(error).__name__}: {error.problem}")
        raise
    except BaseException as error:
        _ended(workspace, begun, doing, Outcome.FAILED, type(error).__name__)
        raise
    finally:
        _announced.reset(token)
        _within.reset(outermost)
        _announced_by.reset(at)
    _add(workspace, _last(workspace, begun, doing, Outcome.DONE, doing.note))


def note_down(workspace: Workspace, entries: Sequence[Entry]) -> str:
    """Write what needs no beginning: an observation, or many actions announced together; where the last stands.

    Raises Unrecorded.
    """
    place = workspace.ledger.append(entries) if entries else None
    return place if isinstance(place, str) else ""


def entry(
    workspace: Workspace,
    action: str,
    outcome: Outcome,
    secret: str = "",
    *,
    version: int = 0,
    fingerprint: str = "",
    place: str = "",
    note: str = "",
) -> Entry:
    """An entry of this moment, by whom the hub takes this login for; its ``run`` is what the process says of itself.

    The one that opens a run tells by which catalogue it goes.
    """
    if outcome is Outcome.BEGUN and not _within.get():
        note = with_catalogue(note, workspace.catalogue.digest)
    return Entry(
        workspace.clock(),
        actor_of(workspace),
        action,
        outcome,
        secret,
        version,
        fingerprint,
        place,
        note,
        remark_of_process(),
        socket.gethostname(),
    )


def actor_of(workspace: Workspace) -> str:
    """Who is at work: what the hub says of the login. Where it says nothing, that holds nothing up."""
    try:
        return workspace.hub.identity().words
    except KeyturnError:
        return UNNAMED


def remark_of_process() -> str:
    """What this process says of itself, for which nobody vouches: what it runs, and who asked as far as it knows."""
    return (acting.get() or Acting(f"process {os.getpid()}")).remark


def with_catalogue(note: str, digest: str) -> str:
    """The note, and the catalogue's digest behind it, whole; a part of the note, so that every reader reads it.

    One that is not known is left out.
    """
    if not digest:
        return note
    words = f"{CATALOGUE}{digest}"
    return f"{note[: NOTE_LIMIT - len(words) - 2]}; {words}" if note else words


def _ended(workspace: Workspace, begun: Entry, doing: Doing, outcome: Outcome, why: str) -> None:
    # What went wrong matters more to the caller than a ledger that went away meanwhile.
    with suppress(Unrecorded):
        _add(workspace, _last(workspace, begun, doing, outcome, why))
        write_waiting()


def _add(workspace: Workspace, last: Entry) -> None:
    """Write how an action ended, or let that wait where it may. Raises Unrecorded."""
    if waiting := _waiting.get():
        waiting.add(last)
    else:
        note_down(workspace, [last])


def _write(workspace: Workspace, entries: Sequence[Entry]) -> str:
    """Write these, after what waits, and wait for the disk; where the last of them stands. Raises Unrecorded."""
    waiting = _waiting.get()
    return waiting.write(entries) if waiting else note_down(workspace, entries)


def _last(workspace: Workspace, begun: Entry, doing: Doing, outcome: Outcome, note: str) -> Entry:
    return replace(
        begun,
        time=workspace.clock(),
        outcome=outcome,
        version=doing.version,
        fingerprint=doing.fingerprint,
        note=note,
    )
