"""How safely a store keeps what lies in it: what it tells of itself beside the rights of whoever asks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

MOST_COPIES: Final = 50
"""Copies that are asked for one by one; of more, that is told."""
NAMED: Final = 3
"""Copies that a sentence names."""
NEARLY_FULL: Final = 0.8
FULL: Final = 0.95
"""Shares of a limit from which on it is told, and from which on work may fail for it."""


class Safety(StrEnum):
    """What is thought of it."""

    SOUND = "sound"
    WEAK = "weak"
    """It works, and should be otherwise."""
    BROKEN = "broken"
    """Copies are lost to somebody, open to anybody, or about to be."""
    UNSEEN = "unseen"
    """Nobody could look, or nobody is told."""


@dataclass(frozen=True)
class Posture:
    """One thing that a store tells of itself: ``what`` it is, how it is in ``words``, and what to do about it."""

    what: str
    safety: Safety
    words: str
    remedy: str = ""


class TellsPosture(Protocol):
    """What a store has besides where it tells how safely it keeps copies."""

    def posture(self, remotes: Sequence[str]) -> Iterable[Posture]:
        """What it tells, looked at without a change; ``remotes`` are our copies there, as far as names tell.

        What the login may not look at is :attr:`Safety.UNSEEN`, with the right that it takes. Raises Unavailable.
        """


def could_not_look(what: str, needs: str) -> Posture:
    """Where the login in use may not look: the right is one that no work needs."""
    return Posture(what, Safety.UNSEEN, f"could not look: needs {needs}", f"Give the login {needs}; no work needs it")


def count_against(what: str, count: int, limit: int, published: str) -> Posture:
    """How full it is, against the limit that is ``published``."""
    words = f"{count:,} of {limit:,} ({published})"
    remedy = "Remove what nobody needs, or have the limit raised"
    if count >= limit * FULL:
        return Posture(what, Safety.BROKEN, words, remedy)
    if count >= limit * NEARLY_FULL:
        return Posture(what, Safety.WEAK, words, remedy)
    return Posture(what, Safety.SOUND, words)


def copies_named(copies: Sequence[str]) -> str:
    """A few of them, and how many more."""
    more = len(copies) - NAMED
    return f"{', '.join(copies[:NAMED])} and {more} more" if more > 0 else ", ".join(copies)
