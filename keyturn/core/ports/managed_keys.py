"""The port of keys that lie in another engine and are managed there: a KMS, a key vault, the hub's transit engine.

The key never leaves its engine. A new *generation* of it takes over what is encrypted or signed from then on; older
ones go on opening what they have made, until something says that they shall not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from keyturn.core.errors import Invalid, KeyturnError, Missing


class KeyCondition(StrEnum):
    """Whether a key can be used, as its engine says."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    ENDING = "to be deleted"
    """Somebody has scheduled its deletion: what it has encrypted will be lost."""


@dataclass(frozen=True)
class KeyFacts:
    """What a key's engine tells of it, in names only.

    ``generation`` names what encrypts now, ``made_at`` is when that came; None where nobody tells. ``ends_at`` is when
    a key that is ENDING will be gone. ``turning`` says that the engine is making the next generation by itself.
    ``hsm`` is whether an HSM has made and keeps it, ``kept_in`` that in words.
    """

    generation: str
    made_at: datetime | None
    hsm: bool
    kept_in: str
    condition: KeyCondition = KeyCondition.ENABLED
    ends_at: datetime | None = None
    turning: bool = False


@dataclass(frozen=True)
class Generations:
    """The numbered generations that an engine keeps: when each was made, and the oldest that still opens anything."""

    made_at: Mapping[int, datetime]
    floor: int

    @property
    def newest(self) -> int:
        """The one that encrypts."""
        return max(self.made_at)


class ManagedKey(Protocol):
    """One key in its engine. Errors are named by ``name``, which leads people to it. Serves many threads."""

    name: str

    def describe(self) -> KeyFacts:
        """What the engine tells of it.

        Raises NotFound where there is no such key, Missing where it is deleted and may be brought back, Denied, and
        Invalid for a key that can't be managed.
        """

    def differences(self) -> Sequence[str]:
        """What the catalogue declares of it and is not so there, in words; nothing where all is."""

    def settle(self) -> Sequence[str]:
        """Make it so, and say what was done. Repeatable. Raises what keeps it from being done."""

    def rotate(self) -> None:
        """Let the engine make a new generation. Two calls make two."""


class KeepsGenerations(Protocol):
    """A key whose older generations can be put out of use, and whose ciphertexts tell which one has made them."""

    def generations(self) -> Generations:
        """Those that there are."""

    def generation_of(self, text: str) -> int | None:
        """Which one has made this ciphertext; None for what is none of this engine's."""

    def rewrap(self, ciphertexts: Sequence[str]) -> list[str]:
        """The same contents by the newest generation, in their order; nothing is shown.

        Raises Invalid for a ciphertext of another key, or of a generation that is out of use.
        """

    def raise_floor(self, generation: int) -> None:
        """Let nothing be opened or verified that an older generation has made. It can be lowered again there."""


class EndsLater(Protocol):
    """A key that its engine deletes only after a while, within which that can be taken back."""

    def schedule_end(self, window: timedelta) -> datetime:
        """Let it be deleted after ``window``, and nothing be done with it until then; when that will be.

        Raises Invalid for a window that the engine does not take.
        """

    def cancel_end(self) -> None:
        """Let it stay, and be used again."""


def refuse_condition(name: str, facts: KeyFacts) -> KeyturnError | None:
    """Why a key of this condition is not rotated; None where it may be."""
    if facts.condition is KeyCondition.ENDING:
        when = f" on {facts.ends_at:%Y-%m-%d %H:%M} UTC" if facts.ends_at else ""
        problem = f"the key is to be deleted{when}, and what it has encrypted is lost then"
        return Missing("rotate", name, problem, "Cancel its deletion, or take it out of the catalogue")
    if facts.condition is KeyCondition.DISABLED:
        return Invalid("rotate", name, "the key is disabled", "Enable it, or take it out of the catalogue")
    return None


def refuse_place(name: str, facts: KeyFacts) -> KeyturnError | None:
    """Why a key of which an HSM is required does not do; None where an HSM has it."""
    if facts.hsm:
        return None
    hint = "Make a key in an HSM and let the catalogue name that, or take `hsm: required` away"
    return Invalid("rotate", name, f"an HSM is required, and {facts.kept_in}", hint)
