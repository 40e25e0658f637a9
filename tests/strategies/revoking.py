"""A whole emergency of one secret, from the trigger to the proof."""

from datetime import UTC, datetime

from keyturn.revocation import run
from keyturn.revocation.incident import Mode, Standing
from keyturn.revocation.selecting import Selection
from keyturn.rotation.context import Keyturn
from tests.support.lab import fresh


def revoked(keyturn: Keyturn, path: str, mode: Mode = Mode.REPLACE) -> Standing:
    """How an incident about this secret stands once every step of it has been tried."""
    incident = run.begin(
        keyturn,
        Selection((path,)),
        incident=f"INC-{fresh()}",
        reason="leaked in a log",
        mode=mode,
        selector=path,
        triggered_at=datetime.now(UTC),
        actor="tester",
    )
    return run.finish(keyturn, incident.id)
