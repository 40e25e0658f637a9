"""What a detector found of a run's attacks, how soon, and what else it told."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from benchmarks.lab.attacks import Attack
from benchmarks.lab.calendar import DAY, moment
from keyturn.access_log.detection.alerts import Alert, Evidence
from keyturn.access_log.detection.detector import Detector
from keyturn.core.ports.access import Access

Z: Final = 1.96
"""Of the normal distribution, for 95 %."""


@dataclass
class Sighting:
    """An alert as it was told last, and the moment of the access at which it was told first."""

    alert: Alert
    told: datetime


@dataclass
class Run:
    """One seed's results: which attack was found after how many seconds, and the alerts that are of none.

    ``kinds`` says of which kind each principal is, ``scores`` has the highest of the alerts of each attack.
    """

    seed: int
    days: float
    events: int
    attacks: list[Attack]
    delays: dict[str, float]
    false: list[Alert]
    alerts: int
    seconds: float = 0.0
    kinds: dict[str, str] = field(default_factory=dict)
    scores: dict[str, int] = field(default_factory=dict)

    @property
    def false_a_day(self) -> float:
        """Alerts a day that overlap no attack."""
        return len(self.false) / self.days

    @property
    def precision(self) -> float:
        """The part of all alerts that is of an attack."""
        return 1 - len(self.false) / self.alerts if self.alerts else 1.0


class Observer:
    """Passes a labelled stream on to a detector, and keeps what is to be compared: labelled events and alerts."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.sightings: dict[str, Sighting] = {}
        self.labels: dict[tuple[datetime, str, str], str] = {}
        self.events = 0

    def watch(self, happened: Iterable[tuple[Access, str]]) -> None:
        """The whole stream."""
        take, labels = self._detector.take, self.labels
        at = None
        for access, label in happened:
            at = access.at
            self.events += 1
            if label:
                labels[at, access.path, access.source] = label
            if alerts := take(access):
                self._keep(alerts, at)
        if at:
            self._keep(self._detector.end(), at)

    def _keep(self, alerts: Iterable[Alert], at: datetime) -> None:
        for alert in alerts:
            seen = self.sightings.setdefault(alert.id, Sighting(alert, at))
            seen.alert = alert

    def result(self, seed: int, attacks: list[Attack], warm_up: int, days: int) -> Run:
        """Compare. What was told in the warm-up is left out."""
        by_label = {attack.label: attack for attack in attacks}
        delays: dict[str, float] = {}
        scores: dict[str, int] = {}
        false: list[Alert] = []
        counted = 0
        for sighting in self.sightings.values():
            if sighting.told < moment(warm_up * DAY):
                continue
            counted += 1
            labels = set(self._attacks_of(sighting.alert, by_label))
            for label in labels:
                delay = max(0.0, (sighting.told - moment(by_label[label].first)).total_seconds())
                delays[label] = min(delay, delays.get(label, math.inf))
                scores[label] = max(sighting.alert.score, scores.get(label, 0))
            if not labels and not any(overlaps(sighting.alert, attack) for attack in attacks):
                false.append(sighting.alert)
        return Run(seed, days - warm_up, self.events, attacks, delays, false, counted, scores=scores)

    def _attacks_of(self, alert: Alert, by_label: dict[str, Attack]) -> Iterator[str]:
        """Those whose events the alert shows, or whose principal's alert it is when it shows no more: it has ten."""
        for event in alert.events:
            if label := self._label(event):
                yield label
        if alert.count > len(alert.events):
            yield from (label for label, attack in by_label.items() if overlaps(alert, attack))

    def _label(self, event: Evidence) -> str:
        return self.labels.get((event.at, event.path, event.source), "")


def overlaps(alert: Alert, attack: Attack) -> bool:
    """Whether an alert is of a principal of the attack, and of its time; a storm names nobody."""
    if not attack.events or alert.principal not in attack.principals:
        return False
    return alert.first <= moment(attack.last) and moment(attack.first) <= alert.last


@dataclass
class Row:
    """What was found of some attacks."""

    attacks: int = 0
    found: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """The part that was found."""
        return self.found / self.attacks if self.attacks else 0.0

    def add(self, delay: float | None) -> None:
        """One attack; None where nothing was told of it."""
        self.attacks += 1
        if delay is not None:
            self.found += 1
            self.delays.append(delay)

    def data(self) -> dict[str, Any]:
        """For JSON: the recall has its interval of 95 % (Wilson); the delay is the median, in seconds."""
        low, high = wilson(self.found, self.attacks)
        delays = sorted(self.delays)
        median = delays[len(delays) // 2] if delays else None
        return {
            "attacks": self.attacks,
            "found": self.found,
            "recall": round(self.recall, 4),
            "interval": [round(low, 4), round(high, 4)],
            "seconds": None if median is None else round(median, 1),
        }


def factors(alert: Alert) -> str:
    """The names of its factors, in alphabetical order."""
    return " + ".join(sorted(factor.name for factor in alert.factors))


def wilson(found: int, attacks: int) -> tuple[float, float]:
    """The interval of 95 % of a part that was counted."""
    if not attacks:
        return 0.0, 1.0
    part, spread = found / attacks, Z * Z / attacks
    middle = (part + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(part * (1 - part) / attacks + spread / attacks / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass
class Report:
    """Several runs together."""

    runs: list[Run]

    def rows(self, of: str) -> dict[str, Row]:
        """By ``name`` of the script or by ``family``."""
        rows: dict[str, Row] = defaultdict(Row)
        for run in self.runs:
            for attack in run.attacks:
                rows[getattr(attack.scenario, of)].add(run.delays.get(attack.label))
        return dict(sorted(rows.items()))

    def total(self, *, hopeless: bool) -> Row:
        """Of all attacks, or of those alone that leave something to be found."""
        row = Row()
        for run in self.runs:
            for attack in run.attacks:
                if hopeless or not attack.scenario.hopeless:
                    row.add(run.delays.get(attack.label))
        return row

    def false_by_factors(self) -> Counter[str]:
        """How many false alarms had which factors, together."""
        return Counter(factors(alert) for run in self.runs for alert in run.false)

    def false_by_kind(self) -> Counter[tuple[str, str]]:
        """The same for each kind of principal; storms, and who is nobody's principal, are others."""
        return Counter(
            (run.kinds.get(alert.principal, "others"), factors(alert)) for run in self.runs for alert in run.false
        )

    def curve(self) -> Iterator[tuple[int, float, float]]:
        """Scores in thousandths, and the recall and the false alarms a day, were alerts above them alone told."""
        total = self.total(hopeless=False).attacks
        days = sum(run.days for run in self.runs)
        hopeless = {attack.label for run in self.runs for attack in run.attacks if attack.scenario.hopeless}
        scores = [score for run in self.runs for label, score in run.scores.items() if label not in hopeless]
        false = [alert.score for run in self.runs for alert in run.false]
        for limit in range(300, 1300, 100):
            recall = sum(score > limit for score in scores) / total
            yield limit, recall, sum(score > limit for score in false) / days

    def examples(self, count: int) -> Iterator[str]:
        """False alarms of so many kinds, the most frequent first: what was told of one of each."""
        frequent = dict(self.false_by_kind().most_common(count))
        for run in self.runs:
            for alert in run.false:
                kind = run.kinds.get(alert.principal, "others"), factors(alert)
                if frequent.pop(kind, 0):
                    yield f"{kind[0]}: {'; '.join(factor.words for factor in alert.factors)} ({alert.count} accesses)"

    def data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        days = [run.false_a_day for run in self.runs]
        mean = sum(days) / len(days)
        return {
            "seeds": [run.seed for run in self.runs],
            "days_counted": sum(run.days for run in self.runs),
            "events": sum(run.events for run in self.runs),
            "findable": self.total(hopeless=False).data(),
            "all": self.total(hopeless=True).data(),
            "false_alarms_a_day": round(mean, 3),
            "false_alarms_a_day_by_seed": [round(value, 3) for value in days],
            "high_false_alarms_a_day": round(self._high() / sum(run.days for run in self.runs), 3),
            "precision": round(sum(run.precision for run in self.runs) / len(self.runs), 4),
            "by_score": [
                {"above": limit / 1000, "recall": round(recall, 4), "false_alarms_a_day": round(false, 3)}
                for limit, recall, false in self.curve()
            ],
            "families": {name: row.data() for name, row in self.rows("family").items()},
            "scenarios": {name: row.data() for name, row in self.rows("name").items()},
            "false_alarms_by_factors": dict(self.false_by_factors().most_common()),
        }

    def _high(self) -> int:
        return sum(alert.level == "high" for run in self.runs for alert in run.false)
