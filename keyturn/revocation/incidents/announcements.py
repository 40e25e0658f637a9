"""The messages about an incident, added in the same write as the change."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.notifications.channel import Announcement
from keyturn.core.notifications.notices import message_id
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Message, News

SENT_KEPT: Final = 10
"""Sent messages that stay in the entry."""

CLAIMED: Final = timedelta(minutes=2)
"""How long a claim holds; a channel answers or fails within seconds."""

WORTH_TELLING: Final = timedelta(days=7)
"""How long a message about a closed incident is retried."""

SHOWN: Final = 20
"""Secrets or open things that a message lists; others are counted."""


def with_news(before: Incident | None, after: Incident, now: datetime) -> Incident:
    """The incident with a message for its change; a pending reminder is not repeated."""
    fresh = [
        news for news in news_of_change(before, after) if news is not News.STAYS_OPEN or not waits_already(after, news)
    ]
    if not fresh:
        return after
    last = max((message.number for message in after.outbox), default=0)
    added = [Message(last + count, news, now) for count, news in enumerate(fresh, 1)]
    return replace(after, outbox=trim_outbox((*after.outbox, *added)))


def news_of_change(before: Incident | None, after: Incident) -> Iterator[News]:
    """The news in this change."""
    if before is None:
        yield News.OPENED
    elif before.closed_at is None and after.closed_at is not None:
        yield News.GIVEN_UP if after.given_up else News.CLOSED
    elif before.closed_at is not None and after.closed_at is None:
        yield News.REOPENED
    elif after.closed_at is None and after.reminded_at != before.reminded_at:
        yield News.STAYS_OPEN


def waits_already(incident: Incident, news: News) -> bool:
    """Whether a message of that kind is still unsent."""
    return any(message.news is news for message in unsent(incident))


def unsent(incident: Incident) -> tuple[Message, ...]:
    """The unsent messages, in order."""
    return tuple(message for message in incident.outbox if message.sent_at is None)


def trim_outbox(outbox: tuple[Message, ...]) -> tuple[Message, ...]:
    """All unsent messages, and the last sent ones."""
    sent = [message.number for message in outbox if message.sent_at is not None][-SENT_KEPT:]
    return tuple(message for message in outbox if message.sent_at is None or message.number in sent)


def has_waiting(incident: Incident, now: datetime) -> bool:
    """Whether the outbox has a message to send."""
    return any(incident.closed_at is None or now - message.at < WORTH_TELLING for message in unsent(incident))


def is_free(message: Message, now: datetime) -> bool:
    """Whether no process is sending it; a claim in the future is a wrong clock's."""
    return message.claimed_at is None or not timedelta(0) <= now - message.claimed_at < CLAIMED


# --- in words


def announcement(status: IncidentStatus, message: Message) -> Announcement:
    """The message for people: the news, the present state, and where to read more."""
    incident = status.incident
    lines = [f"{incident.reason}: {incident.selector}", summarise_incident(status), ""]
    lines += [f"Given up by {incident.given_up_by}: {incident.given_up}"] if incident.given_up else []
    lines += [f"Left: {left}" for left in shorten(status.left)] if status.open or incident.given_up else []
    lines += [f"Not proven: {words}" for words in shorten(status.unproven)]
    lines += [f"Secrets: {', '.join(shorten(incident.paths))}"] if incident.paths else []
    lines += [f"Mode: {incident.mode}", f"When: {message.at:%Y-%m-%d %H:%M:%S} UTC"]
    lines += [f"Report: `keyturn incidents {incident.id}`, and the artifacts of the run in Prefect."]
    lines += [f"To go on now: `keyturn revoke --resume {incident.id}`"] if status.open else []
    name = message_id(f"incidents/{incident.id}", message.number, message.news)
    return Announcement(name, f"Keyturn: {incident.id} is {message.news}", "\n".join(lines))


def shorten(names: tuple[str, ...]) -> list[str]:
    """The first names, and the number of the others."""
    return [*names[:SHOWN], *([f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else [])]


def summarise_incident(status: IncidentStatus) -> str:
    """An incident in one line."""
    incident, secrets = status.incident, status.secrets
    ended = [secret.cut_at for secret in secrets if secret.cut_at]
    parts = [f"{len(ended)} of {len(secrets)} credentials ended at their targets"] if secrets else []
    parts += [f"the last after {(max(ended) - incident.triggered_at).total_seconds():.2f} s"] if ended else []
    parts += [f"{len(incident.leases)} leases"] if incident.leases else []
    return f"{incident.id} is {status.conclusion}: {', '.join(parts)}"
