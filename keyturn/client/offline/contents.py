"""The contents of an offline file, before sealing."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from keyturn.client.machine import Machine
from keyturn.client.secrets import Secret, secret_data, secret_of
from keyturn.core.ports.envelope import Refusal, SealRefused
from keyturn.core.sensitive import Sensitive

SLACK: Final = 60.0
"""Seconds by which a clock may be set back without a refusal, as by NTP."""


@dataclass(frozen=True, slots=True)
class Aged:
    """A secret, and how many seconds ago it was read."""

    secret: Secret
    age: float


@dataclass(frozen=True, slots=True)
class Contents:
    """Secrets at one time: ``generation`` grows with each file, ``number`` is the last known notice."""

    generation: int
    journal: str
    number: int
    sealed_at: float
    boot: str
    elapsed: float
    secrets: tuple[Aged, ...]

    def encode(self) -> Sensitive:
        """The contents as JSON."""
        fields = {
            "generation": self.generation,
            "journal": self.journal,
            "number": self.number,
            "sealed_at": self.sealed_at,
            "boot": self.boot,
            "elapsed": self.elapsed,
            "secrets": [_encode(aged) for aged in self.secrets],
        }
        return Sensitive(json.dumps(fields))

    def aged(self, machine: Machine) -> Sequence[Aged]:
        """The secrets with their ages now. Raises SealRefused where the clock was set back.

        The larger difference of two clocks counts: a person may set one, and a boot resets the other.
        """
        passed = machine.now() - self.sealed_at
        if passed < -SLACK:
            raise set_back()
        if self.boot and self.boot == machine.boot:
            passed = max(passed, machine.elapsed() - self.elapsed)
        return [Aged(aged.secret, aged.age + max(0.0, passed)) for aged in self.secrets]


def set_back() -> SealRefused:
    """The error for a clock that can't show the age of a file."""
    hint = "Set the clock; what is read from now on is kept again"
    return SealRefused(Refusal.CLOCK, "the offline file", "the clock is behind the time it was written", hint)


def decode(text: Sensitive) -> Contents:
    """Read the result of :meth:`Contents.encode`. Raises SealRefused."""
    contents = None
    # Raised after the block, because a parser's exception may contain the whole text.
    with suppress(ValueError, TypeError, LookupError, RecursionError):
        contents = _contents(json.loads(text.reveal()))
    if contents is None:
        problem = "it is of a shape that this version does not write"
        raise SealRefused(Refusal.MALFORMED, "the offline file", problem)
    return contents


def _contents(fields: Mapping[str, Any]) -> Contents:
    return Contents(
        int(fields["generation"]),
        str(fields["journal"]),
        int(fields["number"]),
        float(fields["sealed_at"]),
        str(fields["boot"]),
        float(fields["elapsed"]),
        tuple(_aged(entry) for entry in fields["secrets"]),
    )


def _encode(aged: Aged) -> dict[str, Any]:
    return {**secret_data(aged.secret), "age": aged.age}


def _aged(fields: Mapping[str, Any]) -> Aged:
    return Aged(secret_of(fields, stale=True), float(fields["age"]))
