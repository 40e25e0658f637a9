"""For runs that come back to an incident: what it was about, and whether people are to be reminded of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from keyturn.revocation.incident import Incident
from keyturn.revocation.selecting import Selection, Selector, select
from keyturn.revocation.state import change, find
from keyturn.rotation.context import Keyturn

REMINDED: Final = timedelta(hours=1)
"""How often people are told of an incident that stays open."""


def chosen(keyturn: Keyturn, incident: str, selector: Selector) -> Selection:
    """What an incident is about, where the same was asked for before; else what ``selector`` chooses now.

    What was found by a fingerprint or a lease may be gone by then. Raises what :func:`select` raises.
    """
    known = find(keyturn, incident)
    if known and known.selector == selector.words:
        return Selection(known.paths, known.leases)
    return select(keyturn, selector)


def remind(keyturn: Keyturn, incident: str) -> bool:
    """Whether to remind people of it now: true for one of all who ask within an hour, and never once it is closed."""
    now, told = keyturn.clock(), []

    def note(one: Incident) -> Incident:
        told.append(one.closed_at is None and now - (one.reminded_at or one.opened_at) >= REMINDED)
        return replace(one, reminded_at=now) if told[-1] else one

    change(keyturn, incident, note)
    return told[-1]
