"""Record each action before it begins and after it ends. Where that fails, nothing begins.

Writes wait for the disk. So within :func:`written_together` successful outcomes wait for the next write, and one
durable entry can announce an action's steps.
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
"""The text before a catalogue's digest in the note of an opening entry."""

NOTE_LIMIT: Final = 1000
"""Maximum characters of a note: :data:`keyturn.ledger.entries.TEXT_LIMIT`."""

OFTEN: Final = 2.0
"""Seconds that an outcome waits for others before it is written."""


@dataclass
class Doing:
    """An action in progress: fields of its last entry, to be filled in."""

    version: int = 0
    fingerprint: str = ""
    note: str = ""


@dataclass
class _Waiting:
    """Outcomes that wait for the next entry; shared by the threads of one caller."""

    workspace: Workspace
    entries: list[Entry] = field(default_factory=list)
    since: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def add(self, last: Entry) -> None:
        """Keep this for the next write; writes now after a long wait. Raises Unrecorded."""
        with self.lock:
            self.since = self.since if self.entries else time.monotonic()
            self.entries.append(last)
            late = time.monotonic() - self.since >= OFTEN
        if late:
            self.write()

    def write(self, entries: Sequence[Entry] = ()) -> str:
        """Write the waiting entries and then these, and return the position of the last.

        Raises Unrecorded: then the waiting entries stay and are tried again.
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
"""The steps, with their secret, that a durable entry has announced."""
_within: ContextVar[bool] = ContextVar("within", default=False)
"""Whether this runs inside an action whose opening entry names the catalogue."""
_announced_by: ContextVar[str] = ContextVar("announced_by", default="")
"""The entry that began the present action: the ledger's name and a number, empty if unknown."""


def announced_by() -> str:
    """The ledger and number of the entry that began the present action; empty if unknown."""
    return _announced_by.get()


def entry_mark(custom: Mapping[str, str], version: int) -> dict[str, str | None]:
    """The metadata that links ``version`` to its ledger entry; empty if unknown."""
    return {ENTRIES: with_entry(custom, version, place)} if (place := announced_by()) else {}


@contextmanager
def written_together(workspace: Workspace) -> Iterator[None]:
    """Delay successful outcomes until the next write, or the end of the block. Raises Unrecorded there.

    Begun and failed actions are written at once.
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
    """Write the waiting entries, before a pause. Raises Unrecorded."""
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
    """Write that ``action`` begins, and then how it ended. Raises Unrecorded before or after the action.

    Read-only actions (not ``changes``) and announced steps are written only at their end. This entry announces the
    steps ``announcing``. Errors are recorded with their message, which contains only names, and raised again.
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
    """Write entries that need no beginning and return the position of the last. Raises Unrecorded."""
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
    """An entry of this moment, by the hub's identity of this login; its ``run`` is the process's own description.

    The first entry of a run names the catalogue.
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
    """The hub's identity of this login. A failure to read it stops nothing."""
    try:
        return workspace.hub.identity().words
    except KeyturnError:
        return UNNAMED


def remark_of_process() -> str:
    """The unverified description of this process: its command, and the requester if known."""
    return (acting.get() or Acting(f"process {os.getpid()}")).remark


def with_catalogue(note: str, digest: str) -> str:
    """The note followed by the whole digest of the catalogue, if known."""
    if not digest:
        return note
    words = f"{CATALOGUE}{digest}"
    return f"{note[: NOTE_LIMIT - len(words) - 2]}; {words}" if note else words


def _ended(workspace: Workspace, begun: Entry, doing: Doing, outcome: Outcome, why: str) -> None:
    # The error matters more to the caller than a failed ledger write.
    with suppress(Unrecorded):
        _add(workspace, _last(workspace, begun, doing, outcome, why))
        write_waiting()


def _add(workspace: Workspace, last: Entry) -> None:
    """Write an action's end, or delay it where allowed. Raises Unrecorded."""
    if waiting := _waiting.get():
        waiting.add(last)
    else:
        note_down(workspace, [last])


def _write(workspace: Workspace, entries: Sequence[Entry]) -> str:
    """Write these after the waiting entries and return the position of the last. Raises Unrecorded."""
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
