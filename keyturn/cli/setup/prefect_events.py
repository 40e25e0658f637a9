"""Alerts as events of a Prefect server, for its automations."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from keyturn.access_log.detection.alerts import SCALE, Alert
from keyturn.access_log.reactions.reactions import key_of
from keyturn.cli.setup.prefect_server import prefect_settings
from keyturn.core.notifications.alerts import LONGEST, cut
from keyturn.core.workspaces import ALERT, HOUSE, WorkspaceNames

IDS: Final = UUID("0b5d1f3e-6a3c-5b43-9d0e-7f4a0d3f6c11")
"""The namespace of the events' ids (RFC 9562, UUID 5), which makes repeats recognisable."""

SHOWN: Final = 10
"""The most secrets to name in an event."""


class PrefectReaction:
    """Sends an event for each alert, named ``keyturn.alert.begun``, ``.raised`` or ``.complete``."""

    name = "prefect"
    burst = 10
    pace = 1.0
    patience = 30.0
    pause = 300.0

    def __init__(self, workspace: WorkspaceNames) -> None:
        self._workspace = workspace

    def react(self, alerts: Sequence[Alert]) -> None:
        """Raises Unavailable or Denied."""
        from keyturn.providers.prefect_api import SERVER, PrefectApi

        with PrefectApi(prefect_settings(), "tell", SERVER) as api:
            api.send_events([event_of(alert, self._workspace) for alert in alerts])


def event_of(alert: Alert, workspace: WorkspaceNames) -> dict[str, Any]:
    """Build the event for Prefect's API, in names only; a repeat has the same id."""
    return {
        "id": str(uuid5(IDS, " ".join(map(str, key_of(alert))))),
        "occurred": alert.last.isoformat(),
        "event": f"{HOUSE}.{ALERT}.{alert.stage}",
        "resource": {
            "prefect.resource.id": workspace.resource(ALERT, alert.id),
            "prefect.resource.name": cut(alert.principal, LONGEST) or f"{alert.principals} principals",
            f"{HOUSE}.{ALERT}.level": str(alert.level),
        },
        "payload": {
            "alert": alert.id,
            "stage": str(alert.stage),
            "level": str(alert.level),
            "score": alert.score / SCALE,
            "system": cut(alert.system, LONGEST),
            "principal": cut(alert.principal, LONGEST),
            "principals": alert.principals,
            "accesses": alert.count,
            "first": alert.first.isoformat(),
            "last": alert.last.isoformat(),
            "factors": [factor.name for factor in alert.factors],
            "secrets": list(dict.fromkeys(cut(event.path, LONGEST) for event in alert.events))[:SHOWN],
        },
    }
