"""The data of a report's charts: rotations over time, and accesses by hour and classification."""

from collections import Counter
from datetime import timedelta
from typing import Any, Final

from keyturn.evidence.facts import Facts

BARS: Final = 40
"""Maximum number of bars; a longer period has wider bars."""

WIDTHS: Final = tuple(timedelta(days=days) for days in (1, 7, 14, 30, 90, 365))


def rotation_bars(facts: Facts) -> list[dict[str, Any]]:
    """Return the number of rotations and of failed ones, by the first day of each bar."""
    since, until = facts.period.since, min(facts.period.until, facts.looked_at)
    width = next((width for width in WIDTHS if (until - since) / width <= BARS), WIDTHS[-1])
    count = min(10 * BARS, max(1, -(-(until - since) // width)))
    done, failed = Counter[int](), Counter[int]()
    for mark in facts.ledger.marks:
        bar = (mark.at - since) // width
        done[bar] += (mark.action, mark.outcome) == ("promote", "done")
        failed[bar] += (mark.action, mark.outcome) == ("rotate", "failed")
    return [
        {"from": f"{since + bar * width:%Y-%m-%d}", "rotated": done[bar], "failed": failed[bar]} for bar in range(count)
    ]


def access_hours(facts: Facts) -> list[dict[str, Any]]:
    return [
        {"hour": hour, "classification": classification, "reads": reads}
        for (hour, classification), reads in facts.accesses.hours.items()
    ]
