"""Compare-and-set updates of shared entries: read, compute, write over the version read.

The later of two writers is refused, reads again and reapplies its change. Attempts are limited; an entry that others
write faster is reported with its writer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from keyturn.core.errors import Conflict, Contended

Before = TypeVar("Before")
Wanted = TypeVar("Wanted")
Written = TypeVar("Written", covariant=True)

ATTEMPTS: Final = 16
"""Maximum attempts of one change, in about five seconds, at most ten."""
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 1.0
"""Pauses in seconds, each twice the previous one, before random shortening."""

Pause = Callable[[int], None]
"""Waits after the attempt of this number, counted from 0."""

IN_HUB: Final = "The hub's audit log names who writes there. Nothing is lost: run it again"


@dataclass(frozen=True)
class VersionedEntry(Generic[Before, Wanted, Written]):
    """An entry that several processes change.

    ``write`` gets the value read and the wanted one, and raises Conflict after another write. ``writer`` names who
    wrote the value read, for people; None or empty if unknown. ``hint`` is the remedy if others keep writing.
    """

    name: str
    read: Callable[[], Before]
    write: Callable[[Before, Wanted], Written]
    writer: Callable[[Before], str] | None = None
    hint: str = IN_HUB


def jittered(sleep: Callable[[float], None], chance: Callable[[], float]) -> Pause:
    """A pause based on ``sleep``, in seconds; ``chance`` (0 to 1) separates colliding writers."""
    return lambda attempt: sleep(chance() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))


def change_entry(
    entry: VersionedEntry[Before, Wanted, Written],
    change: Callable[[Before], Wanted | None],
    pause: Pause,
    *,
    first: Before | None = None,
) -> tuple[Before, Written | None]:
    """Apply ``change``; the value before it and the write's result, None without a change.

    ``change`` runs again after another's write; ``first`` is a value already read. Raises Contended after
    :data:`ATTEMPTS` late writes, and whatever ``change`` raises.
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
