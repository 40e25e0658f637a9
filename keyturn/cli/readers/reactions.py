"""What is done about alerts here: all reactions together, those that need Prefect only where there is one."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

from keyturn.access_log.reactions.channel import ChannelReaction
from keyturn.access_log.reactions.ledger import LedgerReaction
from keyturn.access_log.reactions.port import Reaction
from keyturn.access_log.reactions.reactions import Reactions
from keyturn.access_log.reactions.worker import Pacing, Worker
from keyturn.cli.emergencies.incident_runner import FLOW, Through, carry_on, tell_on_call
from keyturn.cli.emergencies.wake import ANSWERS, has_prefect
from keyturn.cli.environment import spooled
from keyturn.cli.output import note
from keyturn.cli.setup.prefect_events import PrefectReaction
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.channel import Announcement
from keyturn.core.workspaces import WorkspaceNames
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
"""Seconds that a worker of Prefect may take over an incident before that is left to it."""

REVOKER_ROLE_ID_FILE: Final = "KEYTURN_REVOKER_ROLE_ID_FILE"
REVOKER_SECRET_ID_FILE: Final = "KEYTURN_REVOKER_SECRET_ID_FILE"
"""The AppRole that revokes what rules want ended; without it that is done by the login of the process itself."""

NOTICES: Final = Pacing(burst=5, pace=30.0)

Say = Callable[[str], None]


def open_reactions(
    workspace: "Callable[[], Workspace]", say: Say, wrap: Callable[[Reaction], Reaction] = lambda reaction: reaction
) -> Reactions:
    """Every reaction that there is here: the ledger and revocations; people and Prefect where something leads there.

    ``workspace`` gives the one to work with now. ``say`` is given a line at a time, from several threads. Each is put
    into ``wrap``.
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
    """Has people told, one message after the other; where there is no channel, it is only said here."""
    channel = workspace.channel
    if channel is None:
        return lambda announcement: say(announcement.subject)

    def deliver(announcements: Sequence[Announcement]) -> None:
        for announcement in announcements:
            channel.send(announcement)

    notices: Worker[Announcement] = Worker("notices", deliver, NOTICES, say)
    return lambda announcement: notices.put([announcement])


def revoking(workspace: "Callable[[], Workspace]") -> "Callable[[], Workspace]":
    """The same, logged in as the revoker where that is named, with a ledger that holds nothing up."""

    hub = cache(revokers_hub)
    made: list[tuple[Workspace, Workspace]] = []

    def opened() -> "Workspace":
        current = workspace()
        if not made or made[0][0] is not current:
            made[:] = [(current, for_revocation(current, hub()))]
        return made[0][1]

    return opened


def revokers_hub() -> "Hub | None":
    """The hub, logged in to as the revoker; None where no such login is named. Raises Invalid."""
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings

    role, secret = os.environ.get(REVOKER_ROLE_ID_FILE), os.environ.get(REVOKER_SECRET_ID_FILE)
    if not role:
        return None
    return VaultHub(replace(HubSettings.from_environment(), login=AppRoleLogin(role, secret)))


def for_revocation(workspace: "Workspace", hub: "Hub | None") -> "Workspace":
    """That workspace, with a ledger that holds nothing up."""
    from keyturn.wiring.registry import open_workspace

    if hub is None:
        return replace(workspace, ledger=spooled(workspace.hub))
    return open_workspace(workspace.catalogue, hub, spooled(hub))


class CommandConductor:
    """Sees incidents through as `keyturn revoke` does: by the worker that they have in Prefect, else here."""

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace

    def see_through(self, workspace: "Workspace", incident: "Incident") -> None:
        """Replace, push, tell and prove; people hear of it."""
        restore_service(workspace, incident)
        tell_on_call(workspace, incident.id)
        tell_and_clear(workspace, incident)
        carry_on(workspace, incident.id, Through(not has_prefect(), TIMEOUT, self._workspace))
        tell_on_call(workspace, incident.id)

    def hand_over(self, incident: str, path: str, reason: str) -> bool:
        """Have the worker of emergencies revoke it, whose login may; it is not waited for."""
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
