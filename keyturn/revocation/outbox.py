"""Sending what people are to be told of incidents: at least once, by one process at a time, in order.

A message is claimed in the hub, sent, and marked as sent, each by compare-and-set. One whose sender died is sent
again under the same id; one that the channel does not take stays until it does.
"""

from dataclasses import replace
from typing import Final

from keyturn.core.channel import Channel
from keyturn.core.errors import KeyturnError
from keyturn.revocation import incident_store
from keyturn.revocation.incident import Incident, Message
from keyturn.revocation.news import announcement, has_waiting, is_free, unsent
from keyturn.rotation.context import Keyturn

NOBODY: Final = "no failure channel is set: set KEYTURN_FAILURE_URL here, or give `keyturn bootstrap` one"


def list_unfinished(keyturn: Keyturn) -> list[Incident]:
    """The incidents that are open, or of which people have not been told everything yet."""
    incidents = incident_store.list_incidents(keyturn)
    return [incident for incident in incidents if incident.closed_at is None or has_waiting(incident, keyturn.clock())]


def tell_people(keyturn: Keyturn, incident: str) -> str:
    """Send what waits in an incident's outbox; why something waits still, empty where nothing does.

    Nothing is raised: whoever revokes does not stop because a chat is down.
    """
    try:
        if keyturn.channel is None:
            return NOBODY if unsent(incident_store.load_incident(keyturn, incident)) else ""
        while message := claim_message(keyturn, incident):
            if problem := deliver_message(keyturn, keyturn.channel, incident, message):
                return problem
    except KeyturnError as error:
        return str(error)
    return ""


def claim_message(keyturn: Keyturn, incident: str) -> Message | None:
    """The next message, which is this process's to send; None where none waits, or another process sends it."""
    if not unsent(incident_store.load_incident(keyturn, incident)):
        return None
    mine: list[Message] = []

    def lay(current: Incident) -> Incident:
        mine.clear()
        waits, now = unsent(current), keyturn.clock()
        if not waits or not is_free(waits[0], now):
            return current
        mine.append(replace(waits[0], claimed_at=now, claimed_by=keyturn.holder))
        return with_message(current, mine[0])

    incident_store.update_incident(keyturn, incident, lay)
    return mine[0] if mine else None


def deliver_message(keyturn: Keyturn, channel: Channel, incident: str, message: Message) -> str:
    """Send a claimed message, and mark it; why it was not taken, empty where it was. A claim that failed is let go."""
    try:
        channel.send(announcement(incident_store.load_status(keyturn, incident), message))
    except KeyturnError as error:
        mark_message(keyturn, incident, replace(message, claimed_at=None, claimed_by=""))
        return str(error)
    mark_message(keyturn, incident, replace(message, sent_at=keyturn.clock()))
    return ""


def mark_message(keyturn: Keyturn, incident: str, message: Message) -> None:
    """Write down what became of a message, whoever else writes the incident."""
    incident_store.update_incident(keyturn, incident, lambda current: with_message(current, message))


def with_message(incident: Incident, message: Message) -> Incident:
    """The incident with this message in the place of the one of its number."""
    return replace(
        incident, outbox=tuple(message if earlier.number == message.number else earlier for earlier in incident.outbox)
    )
