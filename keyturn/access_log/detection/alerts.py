"""Alerts: what was odd, and the accesses behind it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from keyturn.access_log.detection.policy import React
from keyturn.core.ports.access import Access

SCALE: Final = 1000
"""Scores and weights are integers in thousandths, so that 0.3 and 0.4 are exactly 0.7."""


class Level(StrEnum):
    """The severity."""

    ALERT = "alert"
    HIGH = "high"


class Stage(StrEnum):
    """The stage of an alert when it is reported."""

    BEGUN = "begun"
    """Its first odd access. More may follow."""
    RAISED = "raised"
    """It continues and has a higher level, another rule or a stronger reaction."""
    COMPLETE = "complete"
    """It was quiet or open for long enough."""


@dataclass(frozen=True)
class Factor:
    """One odd aspect: its name, weight in thousandths, description and reaction."""

    name: str
    weight: int
    words: str
    react: React = React.OFF


@dataclass(frozen=True)
class Response:
    """A rule's reaction for a read secret, and the first such access."""

    path: str
    rule: str
    react: React
    at: datetime


@dataclass(frozen=True)
class Finding:
    """An access that is odd enough. ``score`` is in thousandths."""

    access: Access
    level: Level
    score: int
    factors: tuple[Factor, ...]


@dataclass(frozen=True)
class Evidence:
    """An access behind an alert, without a value or its hash."""

    at: datetime
    path: str
    source: str
    action: str
    version: int | None
    agent: str
    denied: bool
    score: int
    factors: tuple[str, ...]


@dataclass(frozen=True)
class FactorCount:
    """A factor of an alert, its first description and its count."""

    name: str
    weight: int
    words: str
    count: int


@dataclass(frozen=True)
class Alert:
    """Odd accesses of one principal, or of at least ``principals`` in a storm without ``principal``.

    ``id`` is stable, derived from names and a time. ``score`` and ``level`` are the highest, ``count`` counts odd
    accesses, ``events`` are the first. ``responses`` has one per secret, none for a storm.
    """

    id: str
    stage: Stage
    level: Level
    score: int
    system: str
    principal: str
    first: datetime
    last: datetime
    count: int
    factors: tuple[FactorCount, ...]
    events: tuple[Evidence, ...]
    principals: int = 1
    responses: tuple[Response, ...] = ()

    @property
    def storm(self) -> bool:
        """Whether it covers many principals."""
        return not self.principal
