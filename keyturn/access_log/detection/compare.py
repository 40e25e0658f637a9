"""Compare the alerts of two sets of rules for one log."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.access_log.detection.alerts import Alert


@dataclass(frozen=True)
class Difference:
    """The alerts of one log under two sets of rules.

    Alerts match by principal and overlapping time. ``changed`` pairs differ in level.
    """

    only_before: tuple[Alert, ...]
    only_after: tuple[Alert, ...]
    changed: tuple[tuple[Alert, Alert], ...]
    same: int


def compare_alerts(before: Sequence[Alert], after: Sequence[Alert]) -> Difference:
    """Compare the alerts of one log."""
    others: dict[tuple[str, str], list[Alert]] = defaultdict(list)
    for alert in sorted(after, key=lambda alert: alert.first):
        others[alert.system, alert.principal].append(alert)
    matched: set[int] = set()
    only_before: list[Alert] = []
    changed: list[tuple[Alert, Alert]] = []
    same = 0
    for alert in before:
        overlapping = [other for other in others[alert.system, alert.principal] if _overlap(alert, other)]
        matched |= set(map(id, overlapping))
        if not overlapping:
            only_before.append(alert)
        elif alert.level in {other.level for other in overlapping}:
            same += 1
        else:
            changed.append((alert, overlapping[0]))
    only_after = (alert for alert in after if id(alert) not in matched)
    return Difference(tuple(only_before), tuple(only_after), tuple(changed), same)


def _overlap(alert: Alert, other: Alert) -> bool:
    return alert.first <= other.last and other.first <= alert.last
