"""Sends the messages about incidents at least once, by one process at a time, in order.

A refused message stays; after a sender's death, it is sent again under the same id.
"""

from dataclasses import replace
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.channel import Channel
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.announcements import announcement, has_waiting, is_free, unsent
from keyturn.revocation.incidents.incident import Incident, Message
from keyturn.rotation.state.context import Workspace

NOBODY: Final = "no failure channel is set: set KEYTURN_FAILURE_URL here, or give `keyturn setup prefect --apply` one"


def list_unfinished(workspace: Workspace) -> list[Incident]:
    """The incidents that are open, or have unsent messages."""
    incidents = incident_store.list_incidents(workspace)
    return [
        incident for incident in incidents if incident.closed_at is None or has_waiting(incident, workspace.clock())
    ]


def tell_people(workspace: Workspace, incident: str) -> str:
    """Send an incident's messages, and return why one is still unsent, else empty.

    Raises nothing: a revocation continues while a channel is down.
    """
    try:
        if workspace.channel is None:
            return NOBODY if unsent(incident_store.load_incident(workspace, incident)) else ""
        while message := claim_message(workspace, incident):
            if problem := deliver_message(workspace, workspace.channel, incident, message):
                return problem
    except KeyturnError as error:
        return str(error)
    return ""


def claim_message(workspace: Workspace, incident: str) -> Message | None:
    """Claim the next message; None if there is none, or another process sends it."""
    if not unsent(incident_store.load_incident(workspace, incident)):
        return None
    mine: list[Message] = []

    def lay(current: Incident) -> Incident:
        mine.clear()
        waits, now = unsent(current), workspace.clock()
        if not waits or not is_free(waits[0], now):
            return current
        mine.append(replace(waits[0], claimed_at=now, claimed_by=workspace.holder))
        return with_message(current, mine[0])

    incident_store.update_incident(workspace, incident, lay)
    return mine[0] if mine else None


def deliver_message(workspace: Workspace, channel: Channel, incident: str, message: Message) -> str:
    """Send a claimed message, and return the error text, else empty; a failure releases the claim."""
    try:
        channel.send(announcement(incident_store.load_status(workspace, incident), message))
    except KeyturnError as error:
        mark_message(workspace, incident, replace(message, claimed_at=None, claimed_by=""))
        return str(error)
    mark_message(workspace, incident, replace(message, sent_at=workspace.clock()))
    return ""


def mark_message(workspace: Workspace, incident: str, message: Message) -> None:
    """Store a message's outcome, also during other writes."""
    incident_store.update_incident(workspace, incident, lambda current: with_message(current, message))


def with_message(incident: Incident, message: Message) -> Incident:
    """The incident with its message of that number replaced."""
    return replace(
        incident, outbox=tuple(message if earlier.number == message.number else earlier for earlier in incident.outbox)
    )
