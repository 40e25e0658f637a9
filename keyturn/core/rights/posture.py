"""How safely a store keeps its content, as it reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

MOST_COPIES: Final = 50
"""Maximum copies checked individually; a larger number is reported."""
NAMED: Final = 3
"""Copies that a sentence names."""
NEARLY_FULL: Final = 0.8
FULL: Final = 0.95
"""Shares of a limit at which it is reported, and at which work may fail."""


class Safety(StrEnum):
    """The assessment."""

    SOUND = "sound"
    WEAK = "weak"
    """It works, but should be changed."""
    BROKEN = "broken"
    """Copies are lost, exposed to anyone, or about to be."""
    UNSEEN = "unseen"
    """The check failed, or the store does not report it."""


@dataclass(frozen=True)
class Posture:
    """One reported fact: ``what`` it is, its state in ``words``, and the remedy."""

    what: str
    safety: Safety
    words: str
    remedy: str = ""


class TellsPosture(Protocol):
    """Capability of a store that reports how safely it keeps copies."""

    def posture(self, remotes: Sequence[str]) -> Iterable[Posture]:
        """Return what it reports, without changes; ``remotes`` are our copies, as far as names show.

        What the login may not read is :attr:`Safety.UNSEEN`, with the missing right. Raises Unavailable.
        """


def could_not_look(what: str, needs: str) -> Posture:
    """The result of a check that the login may not make; no work requires that right."""
    return Posture(what, Safety.UNSEEN, f"could not look: needs {needs}", f"Give the login {needs}; no work needs it")


def count_against(what: str, count: int, limit: int, published: str) -> Posture:
    """The usage against the limit that is ``published``."""
    words = f"{count:,} of {limit:,} ({published})"
    remedy = "Remove what is not needed, or have the limit raised"
    if count >= limit * FULL:
        return Posture(what, Safety.BROKEN, words, remedy)
    if count >= limit * NEARLY_FULL:
        return Posture(what, Safety.WEAK, words, remedy)
    return Posture(what, Safety.SOUND, words)


def copies_named(copies: Sequence[str]) -> str:
    """Return a few of their names, and the number of others."""
    more = len(copies) - NAMED
    return f"{', '.join(copies[:NAMED])} and {more} more" if more > 0 else ", ".join(copies)
