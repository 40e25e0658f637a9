"""All reactions to alerts here; those that need Prefect only if it is set up."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from keyturn.access_log.detection.alerts import SCALE, Alert
from keyturn.access_log.reactions.channel import ChannelReaction
from keyturn.access_log.reactions.ledger import LedgerReaction
from keyturn.access_log.reactions.port import Reaction
from keyturn.access_log.reactions.reactions import Reactions, key_of
from keyturn.access_log.reactions.worker import Pacing, Worker
from keyturn.cli.emergencies.incident_runner import FLOW, Through, carry_on, tell_on_call
from keyturn.cli.emergencies.wake import ANSWERS, has_prefect
from keyturn.cli.environment import spooled
from keyturn.cli.output import note
from keyturn.cli.setup.prefect_server import prefect_settings
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.alerts import LONGEST, cut
from keyturn.core.notifications.channel import Announcement
from keyturn.core.workspaces import ALERT, HOUSE, WorkspaceNames
from keyturn.keys.own_login import own_principals
from keyturn.revocation.by_alert import RevocationReaction
from keyturn.revocation.run import restore_service, tell_and_clear
from keyturn.rotation.state.journal import actor_of, remark_of_process
from keyturn.settings.hub_login import AppRoleLogin

if TYPE_CHECKING:
    from keyturn.core.ports.hub import Hub
    from keyturn.revocation.incidents.incident import Incident
    from keyturn.rotation.state.context import Workspace

TIMEOUT: Final = 600.0
"""Seconds that a Prefect worker may take for an incident before this process stops waiting."""
REVOKER_ROLE_ID_FILE: Final = "KEYTURN_REVOKER_ROLE_ID_FILE"
REVOKER_SECRET_ID_FILE: Final = "KEYTURN_REVOKER_SECRET_ID_FILE"
"""The AppRole for revocations that rules request. Without it, the process's own login is used."""
IDS: Final = UUID("0b5d1f3e-6a3c-5b43-9d0e-7f4a0d3f6c11")
"""The namespace of the events' ids (RFC 9562, UUID 5), which makes repeats recognisable."""
SHOWN: Final = 10
"""The most secrets to name in an event."""
NOTICES: Final = Pacing(burst=5, pace=30.0)

Say = Callable[[str], None]


def open_reactions(
    workspace: "Callable[[], Workspace]", say: Say, wrap: Callable[[Reaction], Reaction] = lambda reaction: reaction
) -> Reactions:
    """Open the reactions available here: ledger and revocations; channel and Prefect if they are set up.

    ``workspace`` returns the current workspace. Several threads call ``say``, one line at a time.
    """
    opened, names = workspace(), WorkspaceNames.from_environment(os.environ)
    run, host = remark_of_process(), socket.gethostname()
    made: list[Reaction] = [
        LedgerReaction(opened.ledger, lambda: actor_of(workspace()), opened.clock, run=run, host=host),
        RevocationReaction(
            revoking(workspace),
            lambda: own_principals(workspace()),
            CommandConductor(names.name),
            open_notices(opened, say),
            say,
        ),
    ]
    if opened.channel:
        made.append(ChannelReaction(opened.channel))
    if has_prefect():
        made.append(PrefectReaction(names))
    return Reactions([wrap(reaction) for reaction in made], say)


def open_notices(workspace: "Workspace", say: Say) -> Callable[[Announcement], None]:
    channel = workspace.channel
    if channel is None:
        return lambda announcement: say(announcement.subject)

    def deliver(announcements: Sequence[Announcement]) -> None:
        for announcement in announcements:
            channel.send(announcement)

    notices: Worker[Announcement] = Worker("notices", deliver, NOTICES, say)
    return lambda announcement: notices.put([announcement])


def revoking(workspace: "Callable[[], Workspace]") -> "Callable[[], Workspace]":
    """Return the workspace with the revoker's login, if one is named, and a ledger that never blocks."""

    hub = cache(revokers_hub)
    made: list[tuple[Workspace, Workspace]] = []

    def opened() -> "Workspace":
        current = workspace()
        if not made or made[0][0] is not current:
            made[:] = [(current, for_revocation(current, hub()))]
        return made[0][1]

    return opened


def revokers_hub() -> "Hub | None":
    """Open the hub with the revoker's login; None if no such login is named. Raises Invalid."""
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings

    role, secret = os.environ.get(REVOKER_ROLE_ID_FILE), os.environ.get(REVOKER_SECRET_ID_FILE)
    if not role:
        return None
    return VaultHub(replace(HubSettings.from_environment(), login=AppRoleLogin(role, secret)))


def for_revocation(workspace: "Workspace", hub: "Hub | None") -> "Workspace":
    from keyturn.wiring.registry import open_workspace

    if hub is None:
        return replace(workspace, ledger=spooled(workspace.hub))
    return open_workspace(workspace.catalogue, hub, spooled(hub))


class CommandConductor:
    """Completes incidents as `keyturn revoke` does: by their Prefect worker, or else here."""

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace

    def see_through(self, workspace: "Workspace", incident: "Incident") -> None:
        """Replace, push, notify and prove; people are notified."""
        restore_service(workspace, incident)
        tell_on_call(workspace, incident.id)
        tell_and_clear(workspace, incident)
        carry_on(workspace, incident.id, Through(not has_prefect(), TIMEOUT, self._workspace))
        tell_on_call(workspace, incident.id)

    def hand_over(self, incident: str, path: str, reason: str) -> bool:
        """Have the emergency worker revoke it with its login, without waiting."""
        if not has_prefect():
            return False
        from keyturn.cli.running.watch import StillRuns, run_deployment

        parameters = {"path": path, "incident": incident, "reason": reason}
        try:
            run_deployment(FLOW, parameters, 0, WorkspaceNames(self._workspace), answered_within=ANSWERS)
        except StillRuns:
            return True
        except KeyturnError as error:
            note(f"Prefect was not asked to revoke anything: {error.text}")
            return False
        return True


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
