"""Entries that a revocation could not write to the ledger, and that wait in the hub.

Each hub entry is removed once the ledger has its content. The ledger checks for duplicates in the writing transaction,
so it has each event exactly once.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from keyturn.core.actor import incident_at_work
from keyturn.core.errors import Conflict, Invalid, TransientError
from keyturn.core.ports.hub import StatePort
from keyturn.core.ports.ledger import Entry, Ledger
from keyturn.ledger.entries import encode, parse_tail

UNRECORDED: Final = "unrecorded"
"""The path of a waiting event in Keyturn's mount: ``unrecorded/<incident>/<event>``."""

NO_INCIDENT: Final = "-"
"""The folder without an incident. No incident can have this name."""

AT_ONCE: Final = 256
"""Entries per hub write, which takes at most a megabyte."""


def keep_in_hub(hub: StatePort, entries: Sequence[Entry]) -> None:
    """Store these in the hub under the current incident. Raises what the hub raises."""
    folder = f"{UNRECORDED}/{incident_at_work.get() or NO_INCIDENT}"
    for begun in range(0, len(entries), AT_ONCE):
        part = entries[begun : begun + AT_ONCE]
        event = f"{part[0].time:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(8)}"
        _keep(hub, f"{folder}/{event}", "\n".join(map(encode, part)))


def _keep(hub: StatePort, place: str, entries: str) -> None:
    try:
        hub.claim_state(place, {"entries": entries})
    except (Conflict, TransientError):  # also where only the hub's answer was lost
        state = hub.read_state(place)
        if state is None or state.data.get("entries") != entries:
            raise


def waiting_in_hub(hub: StatePort, incident: str = "") -> list[str]:
    """The waiting events of one incident or all, oldest first."""
    below = f"{UNRECORDED}/{incident}" if incident else UNRECORDED
    return sorted(hub.list_state(below), key=lambda place: place.rpartition("/")[2])


def record_waiting(hub: StatePort, ledger: Ledger, incident: str = "") -> int:
    """Append the missing waiting entries to the ledger, remove them here, and return how many were appended.

    Safe to repeat and to run concurrently. Raises Unrecorded where the ledger rejects them, and what the hub raises.
    """
    appended = 0
    for place in waiting_in_hub(hub, incident):
        if entries := _entries_at(hub, place):
            appended += ledger.append_missing(entries)
            hub.delete_state(place)
    return appended


def _entries_at(hub: StatePort, place: str) -> list[Entry]:
    """The entries of one event; empty where another process removed it. Raises Invalid."""
    state = hub.read_state(place)
    try:
        return [parse_tail(tail.encode()) for tail in str(state.data["entries"]).split("\n")] if state else []
    except (Invalid, KeyError):
        hint = "Keep it for the investigation, then remove it"
        raise Invalid("read", f"{place} in the hub", "it is not as Keyturn wrote it", hint) from None
