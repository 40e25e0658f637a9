"""The port of keys managed in another engine: a KMS, a key vault, the hub's transit engine.

The key never leaves its engine. A new *generation* encrypts or signs; older ones still open their content until put out
of use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from keyturn.core.errors import Invalid, KeyturnError, Missing


class KeyCondition(StrEnum):
    """Whether a key can be used, as its engine reports it."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    ENDING = "to be deleted"
    """Scheduled for deletion: what it has encrypted will be lost."""


@dataclass(frozen=True)
class KeyFacts:
    """An engine's facts about a key, without values.

    ``generation`` encrypts, since ``made_at`` (None if unknown). ``ends_at`` is an ENDING key's deletion. ``turning``:
    the engine is creating the next generation. ``hsm``: made and kept in an HSM, described by ``kept_in``.
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
    """A key's numbered generations: creation times, and the oldest that still opens anything."""

    made_at: Mapping[int, datetime]
    floor: int

    @property
    def newest(self) -> int:
        """The encrypting generation."""
        return max(self.made_at)


class ManagedKey(Protocol):
    """One key in its engine. Errors are named by ``name``. Serves many threads."""

    name: str

    def describe(self) -> KeyFacts:
        """The engine's facts.

        Raises NotFound, Missing if deleted but restorable, Denied, and Invalid if unmanageable.
        """

    def differences(self) -> Sequence[str]:
        """The differences from the catalogue's declaration, as text."""

    def settle(self) -> Sequence[str]:
        """Apply the declaration and return what was done. Repeatable. Raises what prevents it."""

    def rotate(self) -> None:
        """Create a new generation; two calls create two."""


class KeepsGenerations(Protocol):
    """Capability: old generations can be disabled, and ciphertexts identify theirs."""

    def generations(self) -> Generations:
        """The existing generations."""

    def generation_of(self, text: str) -> int | None:
        """The generation of this ciphertext; None if it is not this engine's."""

    def rewrap(self, ciphertexts: Sequence[str]) -> list[str]:
        """Re-encrypt with the newest generation, in order, without revealing contents.

        Raises Invalid for another key's ciphertext or a disabled generation.
        """

    def raise_floor(self, generation: int) -> None:
        """Disable older generations for opening and verifying. Reversible in the engine."""


class EndsLater(Protocol):
    """Capability: deletion has a waiting period and can be cancelled."""

    def schedule_end(self, window: timedelta) -> datetime:
        """Schedule deletion after ``window``, disable the key, and return the deletion time.

        Raises Invalid for an unsupported window.
        """

    def cancel_end(self) -> None:
        """Cancel the deletion and enable the key again."""


def refuse_condition(name: str, facts: KeyFacts) -> KeyturnError | None:
    """Return why a key in this condition can't be rotated; None if it can."""
    if facts.condition is KeyCondition.ENDING:
        when = f" on {facts.ends_at:%Y-%m-%d %H:%M} UTC" if facts.ends_at else ""
        problem = f"the key is to be deleted{when}, and what it has encrypted is lost then"
        return Missing("rotate", name, problem, "Cancel its deletion, or take it out of the catalogue")
    if facts.condition is KeyCondition.DISABLED:
        return Invalid("rotate", name, "the key is disabled", "Enable it, or take it out of the catalogue")
    return None


def refuse_place(name: str, facts: KeyFacts) -> KeyturnError | None:
    """Return why a key lacks the required HSM; None if it has one."""
    if facts.hsm:
        return None
    hint = "Make a key in an HSM and let the catalogue name that, or take `hsm: required` away"
    return Invalid("rotate", name, f"an HSM is required, and {facts.kept_in}", hint)
