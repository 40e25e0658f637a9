"""Group related findings into one alert, of one principal or a storm of many."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from math import inf
from typing import Final

from msgspec.json import encode

from keyturn.access_log.detection.alerts import (
    Alert,
    Evidence,
    Factor,
    FactorCount,
    Finding,
    Level,
    Response,
    Stage,
)
from keyturn.access_log.detection.policy import React
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.registry import RULES
from keyturn.core.ports.access import READ

QUIET: Final = 1800.0
"""Seconds without another odd access after which an alert is complete."""

LONGEST: Final = 6 * 3600.0
"""The longest duration of an alert in seconds, before another begins."""

SHOWN: Final = 10
"""Accesses that an alert shows. Others are counted."""

HOURLY: Final = 60
"""Alerts of a level that may begin in an hour, before a storm covers the others."""

NAMED: Final = 1_000
"""The most principals that a storm counts individually."""

HOUR: Final = 3600.0

HOURS: Final = 48
"""The latest hours whose alerts are counted. Logs may be that far apart."""

RESPONSES: Final = 50
"""The most secrets per alert with a reaction. More require a person."""

NOTHING_ODD: Final = Factor("", 0, "")

ID_LENGTH: Final = 32
"""Hex digits of an alert's id."""


@dataclass
class _Group:
    """An open alert. ``touched`` is the latest addition, by the clock if known."""

    id: str
    system: str
    principal: str
    begun: float
    ends: float
    last: float
    touched: float
    score: int = 0
    level: Level = Level.ALERT
    count: int = 0
    events: list[Evidence] = field(default_factory=list)
    factors: dict[str, tuple[Factor, int]] = field(default_factory=dict)
    names: set[tuple[str, str]] = field(default_factory=set)
    responses: dict[str, Response] = field(default_factory=dict)

    def add(self, finding: Finding, at: float) -> bool:
        """Add a finding, and return whether it makes the alert worse."""
        access = finding.access
        self.begun, self.last, self.count = min(self.begun, at), max(self.last, at), self.count + 1
        worse = finding.level is Level.HIGH and self.level is not Level.HIGH
        worse |= any(factor.name in RULES and factor.name not in self.factors for factor in finding.factors)
        self.score = max(self.score, finding.score)
        if finding.level is Level.HIGH:
            self.level = Level.HIGH
        if len(self.names) < NAMED:
            self.names.add((access.system, access.principal))
        for factor in finding.factors:
            first, count = self.factors.get(factor.name, (factor, 0))
            self.factors[factor.name] = (first, count + 1)
        if len(self.events) < SHOWN:
            self.events.append(_evidence(finding))
        return self._respond(finding) or worse

    def _respond(self, finding: Finding) -> bool:
        """Record a rule's reaction for a read secret, and return whether it is stronger."""
        access = finding.access
        wanted = max(finding.factors, key=lambda factor: factor.react.rank, default=NOTHING_ODD)
        earlier = self.responses.get(access.path)
        enough = earlier.react.rank >= wanted.react.rank if earlier else len(self.responses) >= RESPONSES
        if access.denied or access.action != READ or not self.principal or wanted.react is React.OFF or enough:
            return False
        self.responses[access.path] = Response(access.path, wanted.name, wanted.react, access.at)
        return True

    def alert(self, stage: Stage) -> Alert:
        return Alert(
            self.id,
            stage,
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
            tuple(self.responses.values()),
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


def alert_id(system: str, principal: str, finding: Finding) -> str:
    """Derive an alert's id from its principal and first access."""
    access = finding.access
    names = (system, principal, access.at.astimezone(UTC), access.system, access.principal, access.path, access.source)
    return sha256(encode(names)).hexdigest()[:ID_LENGTH]


class AlertGroups:
    """Groups findings into alerts by principal, and a storm. Each system's findings are nearly in order.

    ``live`` adds alerts that begin and worsen. The number of open groups is limited. Each system has its own clock,
    because logs differ in delay.
    """

    def __init__(self, *, live: bool = False) -> None:
        self._live = live
        self._open: dict[tuple[str, str], _Group] = {}
        self._storm: _Group | None = None
        self._begun: dict[tuple[float, Level], int] = {}
        self._ended: dict[tuple[str, str], float] = {}
        self._now = NEVER

    def add(self, finding: Finding, at: float) -> Iterator[Alert]:
        """Add a finding, and yield changed alerts."""
        access = finding.access
        yield from self.complete(access.system, at)
        key = (access.system, access.principal)
        group = self._open.get(key)
        begins = group is None
        if group is None and self._may_begin(at, finding.level):
            group = self._open[key] = self._made(*key, finding, at)
        if group is None:
            begins = self._storm is None
            group = self._storm = self._storm or self._made("", "", finding, at)
        group.touched = max(self._now, at)
        worse = group.add(finding, at)
        if self._live and (begins or worse):
            yield group.alert(Stage.BEGUN if begins else Stage.RAISED)

    def complete(self, system: str, at: float) -> Iterator[Alert]:
        """Yield a system's alerts that were quiet or open for too long, in order."""
        over = [key for key, group in self._open.items() if key[0] == system and _over(group, at)]
        yield from self._closed(over, at)
        if self._storm and _over(self._storm, at):
            yield from self._end_storm()

    def advance(self, now: float) -> Iterator[Alert]:
        """Advance the clock, and yield alerts that were quiet for too long."""
        self._now = max(self._now, now)
        over = [key for key, group in self._open.items() if now > group.touched + QUIET]
        yield from self._closed(over, now)
        if self._storm and now > self._storm.touched + QUIET:
            yield from self._end_storm()

    def end(self) -> Iterator[Alert]:
        """Yield all remaining alerts."""
        yield from self._closed(list(self._open), inf)
        yield from self._end_storm()

    def _closed(self, keys: list[tuple[str, str]], at: float) -> Iterator[Alert]:
        for key in keys:
            group = self._open.pop(key)
            if at > group.ends:
                recent = group.last - QUIET
                self._ended = {other: last for other, last in self._ended.items() if last > recent}
                self._ended[key] = group.last
            yield group.alert(Stage.COMPLETE)

    def _end_storm(self) -> Iterator[Alert]:
        if self._storm:
            yield self._storm.alert(Stage.COMPLETE)
            self._storm = None

    def _made(self, system: str, principal: str, finding: Finding, at: float) -> _Group:
        ends = at + LONGEST
        if at <= self._ended.pop((system, principal), NEVER) + QUIET:
            # It continues, perhaps for weeks. A fixed grid makes its end independent of where reading began.
            ends = (at + LONGEST) // LONGEST * LONGEST
        return _Group(alert_id(system, principal, finding), system, principal, at, ends, at, at)

    def _may_begin(self, at: float, level: Level) -> bool:
        hour = (at // HOUR, level)
        self._begun[hour] = self._begun.get(hour, 0) + 1
        if len(self._begun) > HOURS:
            del self._begun[min(self._begun)]
        return self._begun[hour] <= HOURLY


def _over(group: _Group, at: float) -> bool:
    return at > group.last + QUIET or at > group.ends
