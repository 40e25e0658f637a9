"""Alerts: what was odd, and the accesses behind it. What belongs together is one alert with a count."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from keyturn.core.access import Access

QUIET: Final = 1800.0
"""Seconds without another odd access, after which an alert is complete."""

LONGEST: Final = 6 * 3600.0
"""Seconds that an alert gathers at most: what goes on is told again."""

SHOWN: Final = 10
"""Accesses that an alert names; the others are counted."""

HOURLY: Final = 60
"""Alerts that may begin in an hour. What comes beyond is told by one for all: a storm."""

NAMED: Final = 1_000
"""Principals that a storm counts one by one; beyond, it says that there are at least so many."""

HOUR: Final = 3600.0
SCALE: Final = 1000
"""Scores and weights are counted in thousandths, so that 0.3 and 0.4 are 0.7 and not a little more."""


class Level(StrEnum):
    """How odd."""

    ALERT = "alert"
    HIGH = "high"


@dataclass(frozen=True)
class Factor:
    """One thing that was odd: its name, its weight in thousandths, and what was seen, in words."""

    name: str
    weight: int
    words: str


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

    ``score`` and ``level`` are the highest, ``count`` how many accesses were odd, of which ``events`` are the first.
    """

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

    @property
    def storm(self) -> bool:
        """Whether it tells of many principals at once."""
        return not self.principal


@dataclass
class _Group:
    system: str
    principal: str
    begun: float
    last: float
    score: int = 0
    level: Level = Level.ALERT
    count: int = 0
    events: list[Evidence] = field(default_factory=list)
    factors: dict[str, tuple[Factor, int]] = field(default_factory=dict)
    names: set[tuple[str, str]] = field(default_factory=set)

    def add(self, finding: Finding, at: float) -> None:
        access = finding.access
        self.last, self.count = at, self.count + 1
        if finding.score > self.score:
            self.score = finding.score
        if finding.level is Level.HIGH:
            self.level = Level.HIGH
        if len(self.names) < NAMED:
            self.names.add((access.system, access.principal))
        for factor in finding.factors:
            first, count = self.factors.get(factor.name, (factor, 0))
            self.factors[factor.name] = (first, count + 1)
        if len(self.events) < SHOWN:
            self.events.append(_evidence(finding))

    def alert(self) -> Alert:
        return Alert(
            self.level,
            self.score,
            self.system,
            self.principal,
            datetime.fromtimestamp(self.begun, UTC),
            datetime.fromtimestamp(self.last, UTC),
            self.count,
            tuple(FactorCount(factor.name, factor.weight, factor.words, count) for factor, count in self._ranked()),
            tuple(self.events),
            len(self.names),
        )

    def _ranked(self) -> list[tuple[Factor, int]]:
        return sorted(self.factors.values(), key=lambda pair: (-pair[0].weight, pair[0].name))


def _evidence(finding: Finding) -> Evidence:
    access = finding.access
    return Evidence(
        access.at,
        access.path,
        access.source,
        access.action,
        access.version,
        access.agent,
        access.denied,
        finding.score,
        tuple(factor.name for factor in finding.factors),
    )


class AlertGroups:
    """Gathers findings, which come in the order of their times, to alerts: one for each principal, and a storm.

    No more groups are open than may begin while one lasts.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], _Group] = {}
        self._storm: _Group | None = None
        self._hour = 0.0
        self._begun = 0

    def add(self, finding: Finding, at: float) -> Iterator[Alert]:
        """Take a finding, and give what is complete by then."""
        yield from self.complete(at)
        access = finding.access
        key = (access.system, access.principal)
        group = self._open.get(key)
        if group is None and self._may_begin(at):
            group = self._open[key] = _Group(*key, at, at)
        if group is None:
            group = self._storm = self._storm or _Group("", "", at, at)
        group.add(finding, at)

    def complete(self, at: float) -> Iterator[Alert]:
        """What was quiet for long, or gathers too long, in the order of its beginning."""
        over = [key for key, group in self._open.items() if _over(group, at)]
        yield from (self._open.pop(key).alert() for key in over)
        if self._storm and _over(self._storm, at):
            yield self._storm.alert()
            self._storm = None

    def end(self) -> Iterator[Alert]:
        """All that is left."""
        yield from self.complete(float("inf"))

    def _may_begin(self, at: float) -> bool:
        if at >= self._hour + HOUR:
            self._hour, self._begun = at, 0
        self._begun += 1
        return self._begun <= HOURLY


def _over(group: _Group, at: float) -> bool:
    return at > group.last + QUIET or at > group.begun + LONGEST
