"""A year of certificates by the schedule's own decisions, with a clock that jumps from one look to the next."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keyturn.core.causes import RENEWED_AFTER
from keyturn.core.facts import Facts, Schedule
from keyturn.core.policy import alarm, due, outlook

BEGIN = datetime(2029, 3, 15, tzinfo=UTC)
"""From here on a public certificate may live for 47 days (CA/Browser Forum, ballot SC-081)."""
YEAR = timedelta(days=365)
LOOK = timedelta(minutes=15)
"""How often the schedule looks for what is due."""
BACKDATED = timedelta(seconds=30)


@dataclass(frozen=True)
class CertificateYear:
    """How many certificates were renewed, and the least that was left of one then, as a part of its life.

    ``early`` are renewals before a look found them due, ``paged`` looks at which one was an alarm.
    """

    renewals: int
    least_left: float
    early: int
    paged: int


def live_a_year(certificates: int, life: timedelta) -> CertificateYear:
    """So many certificates, each in another moment of its life when the year begins, none of them late."""
    lives = [_live(f"tls/{number}", life, RENEWED_AFTER * number / certificates) for number in range(certificates)]
    return CertificateYear(
        sum(lived.renewals for lived in lives),
        min(lived.least_left for lived in lives),
        sum(lived.early for lived in lives),
        sum(lived.paged for lived in lives),
    )


def _live(path: str, life: timedelta, share: float) -> CertificateYear:
    issued = BEGIN - life * share
    renewals, least, early, paged = 0, 1.0, 0, 0
    while True:
        ends = issued - BACKDATED + life
        at = outlook(Facts(path, Schedule(), max(issued, BEGIN), issued, expires_at=ends)).at
        assert at is not None
        look = BEGIN + LOOK * math.ceil((at - BEGIN) / LOOK)
        if look > BEGIN + YEAR:
            return CertificateYear(renewals, least, early, paged)
        before, then = (Facts(path, Schedule(), now, issued, expires_at=ends) for now in (look - LOOK, look))
        early += look - LOOK >= issued and due(before) is not None and look > BEGIN
        assert due(then) is not None
        paged += alarm(then) is not None
        least = min(least, (ends - look) / life)
        renewals, issued = renewals + 1, look
