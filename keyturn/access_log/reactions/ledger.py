"""Alerts as ledger entries, without values or their hashes."""

from collections.abc import Callable, Sequence
from datetime import datetime

from keyturn.access_log.detection.alerts import Alert
from keyturn.core.notifications.alerts import ALERT, AlertNote
from keyturn.core.ports.ledger import Entry, Ledger, Outcome


class LedgerReaction:
    """Writes an entry for each stage of an alert, in the name of ``actor``."""

    name = "ledger"
    burst = 1
    pace = 0.0
    patience = 60.0
    pause = 30.0

    def __init__(
        self, ledger: Ledger, actor: Callable[[], str], clock: Callable[[], datetime], *, run: str = "", host: str = ""
    ) -> None:
        self._ledger = ledger
        self._actor = actor
        self._clock = clock
        self._run = run
        self._host = host

    def react(self, alerts: Sequence[Alert]) -> None:
        """Append the entries. Raises Unrecorded."""
        actor, now = self._actor(), self._clock()
        self._ledger.append([self._entry(alert, actor, now) for alert in alerts])

    def _entry(self, alert: Alert, actor: str, now: datetime) -> Entry:
        return Entry(
            now,
            actor,
            ALERT,
            Outcome.DONE,
            secret_of(alert),
            place=alert.system,
            note=note_of(alert).to_text(),
            run=self._run,
            host=self._host,
        )


def secret_of(alert: Alert) -> str:
    """The only secret of an alert, otherwise empty."""
    paths = {event.path for event in alert.events}
    return paths.pop() if len(paths) == 1 and alert.count <= len(alert.events) and not alert.storm else ""


def note_of(alert: Alert) -> AlertNote:
    """The entry's note."""
    return AlertNote(
        alert.id,
        str(alert.stage),
        str(alert.level),
        alert.score,
        alert.system,
        alert.principal,
        alert.principals,
        alert.events[0].source if alert.events else "",
        alert.first,
        alert.last,
        alert.count,
        tuple(factor.name for factor in alert.factors),
        alert.factors[0].words if alert.factors else "",
    )
