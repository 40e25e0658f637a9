"""The part that grants approved access, and ends grants that no longer hold."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, cast

from keyturn.client.clock import elapsed
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.alerts import ALERT, alert_of
from keyturn.grants.granter import Granter, Say
from keyturn.grants.notifications import Herald
from keyturn.grants.sweep import Sweeper, SweepResult
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import StoredLedger
from keyturn.serving.ledger_history import TAIL
from keyturn.serving.parts import GRANTING, Part, PartHealth, Tenure
from keyturn.serving.site import Site

LOOK: Final = 0.4
"""Seconds between two looks at approved requests, to grant them within two seconds."""
SWEEP: Final = 8.0
"""Seconds between two sweeps over all grants."""


class GrantsPart:
    """Grants and sweeps, in one process at a time by its lease. If two run, each step still happens only once.

    ``pause`` is the number of seconds between two sweeps.
    """

    name = GRANTING

    def __init__(self, site: Site, pause: float = SWEEP) -> None:
        self._site = site
        self._pause = pause
        self._looked_at = elapsed()
        self._trouble = ""

    def run(self, tenure: Tenure) -> None:
        """Work until the tenure ends. Raises errors that hide all requests, or all grants."""
        self._looked_at = elapsed()
        tenure.measure = lambda: PartHealth(elapsed() - self._looked_at, self._trouble)
        ledger = cast("StoredLedger", self._site.workspace().ledger)
        alerts = PrincipalAlerts(ledger, self._say)
        alerts.refresh()
        granter, sweeper, herald = Granter(self._say, elapsed), Sweeper(alerts.find), Herald()
        sweep_at, sweeping = float("-inf"), None

        def sweep() -> None:
            alerts.refresh()
            self._tell(sweeper.sweep(self._site.workspace()))
            self._tell_people(herald)

        # In another thread: sweeping hundreds takes longer than an approved request may wait.
        with ThreadPoolExecutor(1) as pool:
            while not tenure.over:
                for grant in granter.look(self._site.workspace()):
                    self._say(f"{grant.request}: given {grant.credential} for {grant.path} until {grant.ends_at}")
                if sweeping and sweeping.done():
                    sweeping.result()
                    sweep_at, sweeping = elapsed() + self._pause, None
                if not sweeping and elapsed() >= sweep_at:
                    sweeping = pool.submit(sweep)
                self._looked_at = elapsed()
                tenure.wait(LOOK)

    def _tell(self, result: SweepResult) -> None:
        for place, why in result.ended.items():
            self._say(f"{place.rpartition('/')[2]}: ended: {why}")
        first = next(iter(result.troubles.values()), None)
        trouble = f"{len(result.troubles)} grants can't be looked at: {first}" if first else ""
        if trouble and trouble != self._trouble:
            self._say(f"error: {trouble}")
        self._trouble = trouble

    def _tell_people(self, herald: Herald) -> None:
        """Notify people. A failure of the channel is reported and delays nothing."""
        try:
            herald.tell(self._site.workspace())
        except KeyturnError as error:
            self._say(f"error: people are not notified of what waits for them: {error}")

    def _say(self, line: str) -> None:
        self._site.say(f"{self.name}: {line}")


class PrincipalAlerts:
    """The newest alert about each principal, read from the ledger as it grows."""

    def __init__(self, ledger: StoredLedger, say: Say) -> None:
        self._ledger = ledger
        self._say = say
        self._last = 0
        self._newest: dict[str, tuple[datetime, str]] = {}
        self._trouble = ""

    def refresh(self) -> None:
        """Read the new entries. An unreadable ledger is reported once, and ends no grant."""
        trouble = ""
        try:
            self._read_on()
        except KeyturnError as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            self._say(f"error: alerts about holders of access are unknown: {trouble}")
        self._trouble = trouble

    def find(self, principal: str, since: datetime) -> str | None:
        """Return the newest alert about the principal since then, in words; empty where there is none.

        None where the ledger can't be read.
        """
        if self._trouble:
            return None
        last, words = self._newest.get(principal, (datetime.min.replace(tzinfo=UTC), ""))
        return words if last > since else ""

    def _read_on(self) -> None:
        first = self._last + 1 if self._last else max(1, self._ledger.size() - TAIL + 1)
        for number, leaf in self._ledger.leaves(first):
            alert = alert_of(parse_leaf(leaf).entry) if NEEDLE in leaf else None
            if alert and alert.principal:
                self._newest[alert.principal] = alert.last, f"{alert.id}, {alert.why}"
            self._last = number


NEEDLE: Final = f'"action":"{ALERT}"'.encode()


def grants_parts(site: Site) -> Iterable[Part]:
    """Return the part; none where the catalogue has no access policies."""
    return [GrantsPart(site)] if site.workspace().catalogue.access_policies else []
