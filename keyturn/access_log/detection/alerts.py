"""Alerts: what was odd, and the accesses behind it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from keyturn.access_log.detection.policy import React
from keyturn.core.ports.access import Access

SCALE: Final = 1000
"""Scores and weights are counted in thousandths, so that 0.3 and 0.4 are 0.7 and not a little more."""


class Level(StrEnum):
    """How odd."""

    ALERT = "alert"
    HIGH = "high"


class Stage(StrEnum):
    """How far an alert has come when it is given."""

    BEGUN = "begun"
    """Its first access was odd; more may come."""
    RAISED = "raised"
    """It goes on, and is worse: its level rose, a rule found odd what none of its accesses was before, or asks for more
    to be done."""
    COMPLETE = "complete"
    """It was quiet for long enough, or has gathered for long enough."""


@dataclass(frozen=True)
class Factor:
    """One thing that was odd: its name, its weight in thousandths, and what was seen, in words.

    ``react`` is what the rule asks to be done about the secret.
    """

    name: str
    weight: int
    words: str
    react: React = React.OFF


@dataclass(frozen=True)
class Response:
    """What a rule asks to be done about a secret that was given, and the moment of the first such access."""

    path: str
    rule: str
    react: React
    at: datetime


@dataclass(frozen=True)
class Finding:
    """One access that is odd enough. ``score`` is in thousandths."""

    access: Access
    level: Level
    score: int
    factors: tuple[Factor, ...]


@dataclass(frozen=True)
class Evidence:
    """One access behind an alert. No value, and no hash of one."""

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
    """A factor of an alert: the words of the first access that had it, and how many had."""

    name: str
    weight: int
    words: str
    count: int


@dataclass(frozen=True)
class Alert:
    """What one principal did that was odd; ``principal`` is empty for a storm of ``principals``, at least so many.

    ``id`` is the same at every stage, and whenever the same log is read; it is made of names and a time alone.
    ``score`` and ``level`` are the highest, ``count`` how many accesses were odd, of which ``events`` are the first.
    ``responses`` are what rules ask to be done, one for each secret; none of a storm.
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
        """Whether it tells of many principals at once."""
        return not self.principal
