"""Notify the people on call of alerts."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from keyturn.access_log.detection.alerts import Alert, Level, Stage
from keyturn.access_log.reactions.words import decimal, describe, who
from keyturn.core.notifications.channel import Announcement, Channel
from keyturn.core.notifications.notices import message_id
from keyturn.core.text.plain_text import inert

SHOWN: Final = 5
"""Alerts that a message shows in full. Others are counted."""

NAME_LIMIT: Final = 200
"""Characters of a name in a message."""

STATES: Final = {Stage.BEGUN: "has begun", Stage.RAISED: "has become worse", Stage.COMPLETE: "is over"}


class ChannelReaction:
    """Notifies a channel when an alert begins or worsens, and at its end if more has come."""

    name = "channel"
    burst = 5
    pace = 30.0
    patience = 60.0
    pause = 300.0

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def react(self, alerts: Sequence[Alert]) -> None:
        """Send a message. Raises what the channel raises."""
        if worth_telling := list(newest(alerts)):
            self._channel.send(announcement(worth_telling))


def newest(alerts: Sequence[Alert]) -> Iterator[Alert]:
    """The last state of each alert, without those that ended unchanged."""
    for alert in {alert.id: alert for alert in alerts}.values():
        if alert.stage is not Stage.COMPLETE or alert.count > 1:
            yield alert


def announcement(alerts: Sequence[Alert]) -> Announcement:
    """Create one message for alerts, worst first."""
    ranked = sorted(alerts, key=lambda alert: (alert.level is not Level.HIGH, -alert.score))
    lines = [line for alert in ranked[:SHOWN] for line in (*told(alert), "")]
    if len(ranked) > SHOWN:
        lines += [f"and {len(ranked) - SHOWN:,} more alerts, which the ledger names", ""]
    lines += ["When the secret may be known to others: `keyturn revoke PATH --reason WHY`"]
    names = "\n".join(f"{alert.id} {alert.stage} {alert.count}" for alert in alerts)
    name = message_id(f"alerts/{sha256(names.encode()).hexdigest()}", len(alerts), str(alerts[0].stage))
    return Announcement(name, subject(ranked), "\n".join(lines))


def subject(ranked: Sequence[Alert]) -> str:
    """The message's subject."""
    first = ranked[0]
    if len(ranked) > 1:
        return f"Keyturn: {len(ranked):,} alerts, the worst of {who(first, cut)}"
    about = f": {cut(first.events[0].path)}" if first.events and not first.storm else ""
    return f"Keyturn: {'odd' if first.level is Level.ALERT else 'very odd'} access by {who(first, cut)}{about}"


def told(alert: Alert) -> Iterator[str]:
    """The lines of one alert."""
    where = f" at {cut(alert.system)}" if alert.system else ""
    yield f"{alert.level} {decimal(alert.score)}{where}, {STATES[alert.stage]} ({alert.id})"
    yield from describe(alert, cut)


def cut(text: str) -> str:
    """A name in a message."""
    return inert(text, NAME_LIMIT)
