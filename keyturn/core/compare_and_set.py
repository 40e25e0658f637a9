"""Changing what others change too: read it, say what it should be, write that over the version that was read.

Whoever comes second is refused by the store, reads again and lays the change over what is there now. How often is
bounded: something that others write faster than it can be read is told, with who does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from keyturn.core.errors import Conflict, Contended

Before = TypeVar("Before")
Wanted = TypeVar("Wanted")
Written = TypeVar("Written", covariant=True)

ATTEMPTS: Final = 16
"""How often one change is tried. With the pauses between, it is about five seconds, and ten at most."""
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 1.0
"""In seconds, before they are made shorter by chance; each is twice the one before."""

Pause = Callable[[int], None]
"""Waits after the attempt of this number, counted from 0."""

IN_HUB: Final = "The hub's audit log names who writes there. Nothing is lost: run it again"


@dataclass(frozen=True)
class VersionedEntry(Generic[Before, Wanted, Written]):
    """What several processes change: how it is read, with its version, and written over that version.

    ``write`` is given what was read and what is wanted, and raises Conflict where another write came between.
    ``writer`` says for people who has written what was read, and is None or says nothing where nobody can tell;
    ``hint`` is what they do about one that others keep writing.
    """

    name: str
    read: Callable[[], Before]
    write: Callable[[Before, Wanted], Written]
    writer: Callable[[Before], str] | None = None
    hint: str = IN_HUB


def jittered(sleep: Callable[[float], None], chance: Callable[[], float]) -> Pause:
    """Pauses for ``sleep``, in seconds; ``chance`` gives numbers from 0 to 1, so that those who collide part."""
    return lambda attempt: sleep(chance() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))


def change_entry(
    entry: VersionedEntry[Before, Wanted, Written],
    change: Callable[[Before], Wanted | None],
    pause: Pause,
    *,
    first: Before | None = None,
) -> tuple[Before, Written | None]:
    """What stood there before the change, and what its write gave; None where ``change`` wants none.

    ``change`` is asked anew for whatever another writer leaves; ``first`` is what has been read already. Raises
    Contended, after :data:`ATTEMPTS` writes that came too late, and whatever ``change`` raises.
    """
    before = entry.read() if first is None else first
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(attempt - 1)
            before = entry.read()
        wanted = change(before)
        if wanted is None:
            return before, None
        try:
            return before, entry.write(before, wanted)
        except Conflict:
            continue
    writer = entry.writer(entry.read()) if entry.writer else ""
    problem = f"others keep writing it: {ATTEMPTS} times a write of theirs came first"
    raise Contended("change", entry.name, f"{problem}{f', the last one by {writer}' if writer else ''}", entry.hint)
