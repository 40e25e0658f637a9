"""The results of a replay as tables and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keyturn.access_log.detection.alerts import SCALE, Alert, Evidence
from keyturn.access_log.detection.compare import Difference, compare_alerts
from keyturn.access_log.detection.reorder import LATENESS
from keyturn.access_log.reactions.words import decimal, describe, who
from keyturn.cli.output import note, stamp, when, write_table, write_text
from keyturn.core.text.plain_text import visible
from keyturn.core.text.spans import span

if TYPE_CHECKING:
    from keyturn.access_log.detection.detector import DetectionCounts
    from keyturn.core.ports.access import Coverage

COLUMNS: Final = ("alert", "from (UTC)", "who", "accesses", "why")
WHOLE: Final = ("alert", "from (UTC)", "accesses")


@dataclass(frozen=True)
class Replay:
    """The logs with their coverage, the detector's counts, and the alerts.

    ``unread`` is why the ledger could not be read, or empty. ``after`` are the alerts of the other rules, if given.
    """

    logs: "tuple[tuple[str, Coverage], ...]"
    counts: "DetectionCounts"
    unread: str
    alerts: Sequence[Alert]
    after: Sequence[Alert] | None = None


def show_replay(replay: Replay) -> None:
    for line in remarks(replay):
        note(line)
    if replay.after is not None:
        return show_difference(compare_alerts(replay.alerts, replay.after))
    if not replay.alerts:
        return write_text("no access is odd enough for an alert")
    write_table(COLUMNS, map(row, replay.alerts), whole=WHOLE)
    return write_text("\n".join(line for alert in replay.alerts for line in ("", *describe(alert, visible))))


def show_difference(difference: Difference) -> None:
    alerts = [("only before", alert) for alert in difference.only_before]
    alerts += [("only after", alert) for alert in difference.only_after]
    alerts += [(f"{before.level} to {after.level}", after) for before, after in difference.changed]
    if alerts:
        write_table(("rules", *COLUMNS), ((which, *row(alert)) for which, alert in alerts), whole=("rules", *WHOLE))
        write_text("\n".join(line for which, alert in alerts for line in ("", f"{which}:", *describe(alert, visible))))
    write_text(f"alerts that are the same under both: {difference.same:,}")


def remarks(replay: Replay) -> Iterator[str]:
    counts = replay.counts
    lines = sum(coverage.lines for _, coverage in replay.logs)
    yield f"{lines:,} lines, {counts.order.accesses:,} accesses, {counts.odd:,} of them odd"
    if counts.explained:
        yield f"{counts.explained:,} more would be odd if their principals had not done the same on other days"
    for name, coverage in replay.logs:
        yield from (f"{name}: {gap}" for gap in coverage.gaps)
    if replay.unread:
        yield f"no ledger was read ({replay.unread}), so nothing is known of what was revoked or retired"
    if late := counts.order.late:
        yield f"{late:,} accesses were more than {span(LATENESS)} older than others before them, and are not judged"
    if impossible := counts.order.impossible:
        yield f"{impossible:,} accesses have a time before 1970 or after the year 9000, and are not judged"
    if duplicates := counts.order.duplicates:
        yield f"{duplicates:,} accesses appear twice there, and count once"
    if counts.forgotten:
        yield f"{counts.forgotten:,} principals were forgotten for want of room, those not seen for longest"


def row(alert: Alert) -> tuple[str, ...]:
    why = ", ".join(factor.name for factor in alert.factors)
    return f"{alert.level} {decimal(alert.score)}", when(alert.first), who(alert, visible), f"{alert.count:,}", why


def replay_data(replay: Replay) -> dict[str, Any]:
    counts = replay.counts
    return {
        "logs": [
            {
                "name": name,
                "lines": coverage.lines,
                "first": stamp(coverage.first),
                "last": stamp(coverage.last),
                "gaps": list(coverage.gaps),
            }
            for name, coverage in replay.logs
        ],
        "ledger_unread": replay.unread,
        "accesses": counts.order.accesses,
        "odd": counts.odd,
        "explained": counts.explained,
        "late": counts.order.late,
        "impossible": counts.order.impossible,
        "duplicates": counts.order.duplicates,
        "forgotten": counts.forgotten,
        "alerts": [alert_data(alert) for alert in replay.alerts],
        "comparison": None if replay.after is None else _difference_data(compare_alerts(replay.alerts, replay.after)),
    }


def _difference_data(difference: Difference) -> dict[str, Any]:
    return {
        "only_before": [alert_data(alert) for alert in difference.only_before],
        "only_after": [alert_data(alert) for alert in difference.only_after],
        "changed": [{"before": alert_data(before), "after": alert_data(after)} for before, after in difference.changed],
        "same": difference.same,
    }


def alert_data(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "level": str(alert.level),
        "score": alert.score / SCALE,
        "system": alert.system,
        "principal": alert.principal,
        "principals": alert.principals,
        "first": stamp(alert.first),
        "last": stamp(alert.last),
        "count": alert.count,
        "factors": [
            {"name": factor.name, "weight": factor.weight / SCALE, "words": factor.words, "count": factor.count}
            for factor in alert.factors
        ],
        "events": [event_data(event) for event in alert.events],
    }


def event_data(event: Evidence) -> dict[str, Any]:
    return {
        "at": stamp(event.at),
        "action": event.action,
        "path": event.path,
        "source": event.source,
        "version": event.version,
        "agent": event.agent,
        "denied": event.denied,
        "score": event.score / SCALE,
        "factors": list(event.factors),
    }
