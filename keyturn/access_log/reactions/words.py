"""An alert as text for people."""

from collections.abc import Callable, Iterator
from typing import Final

from keyturn.access_log.detection.alerts import SCALE, Alert, Evidence

SHOWN: Final = 3
"""Accesses that people see."""

INDENT: Final = "    "

NO_ADDRESS: Final = "an address that the log does not record"

Spell = Callable[[str], str]
"""Escapes untrusted text: :func:`keyturn.core.text.plain_text.visible` or ``inert``."""


def who(alert: Alert, spell: Spell) -> str:
    """The alert's principal or principals."""
    return f"{alert.principals:,} principals or more" if alert.storm else spell(alert.principal)


def describe(alert: Alert, spell: Spell) -> Iterator[str]:
    """Yield lines with what was odd and the first accesses."""
    yield f"{who(alert, spell)}, {alert.first:%Y-%m-%d %H:%M:%S} to {alert.last:%Y-%m-%d %H:%M:%S} UTC:"
    for factor in alert.factors:
        times = f", {factor.count:,} times" if factor.count > 1 else ""
        yield f"{INDENT}{decimal(factor.weight)} {factor.name}{times}: {spell(factor.words)}"
    yield from (f"{INDENT}{event_line(event, spell)}" for event in alert.events[:SHOWN])
    if alert.count > SHOWN:
        yield f"{INDENT}and {alert.count - SHOWN:,} more"


def event_line(event: Evidence, spell: Spell) -> str:
    """One access."""
    what = f"{event.action}{' failed' if event.denied else ''} {spell(event.path)}"
    agent = f" by {spell(event.agent)}" if event.agent else ""
    return f"{event.at:%H:%M:%S} {what} from {spell(event.source) or NO_ADDRESS}{agent}"


def decimal(thousandths: int) -> str:
    """A score or weight as a decimal."""
    return f"{thousandths / SCALE:g}"
