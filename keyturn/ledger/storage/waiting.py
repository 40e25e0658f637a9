"""Entries that a revocation could not write to the ledger: they wait in the hub until a process can.

Each write is an entry of the hub by itself, which is made once and removed once the ledger has what is in it. The
ledger looks for what it has in the transaction that writes the rest. So each event is in it exactly once, also when
two processes append the same ones, or one is killed before it has removed them here.
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
"""Where they wait in Keyturn's own mount: ``unrecorded/<incident>/<event>``."""

NO_INCIDENT: Final = "-"
"""The folder of what belongs to no incident; no incident can be called so."""

AT_ONCE: Final = 256
"""Entries in one write to the hub, which takes a megabyte at most."""


def keep_in_hub(hub: StatePort, entries: Sequence[Entry]) -> None:
    """Let these wait in the hub, with the incident at work. Raises what the hub raises."""
    folder = f"{UNRECORDED}/{incident_at_work.get() or NO_INCIDENT}"
    for begun in range(0, len(entries), AT_ONCE):
        part = entries[begun : begun + AT_ONCE]
        event = f"{part[0].time:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(8)}"
        _keep(hub, f"{folder}/{event}", "\n".join(map(encode, part)))


def _keep(hub: StatePort, place: str, entries: str) -> None:
    try:
        hub.claim_state(place, {"entries": entries})
    except (Conflict, TransientError):  # also where the hub's answer alone was lost
        state = hub.read_state(place)
        if state is None or state.data.get("entries") != entries:
            raise


def waiting_in_hub(hub: StatePort, incident: str = "") -> list[str]:
    """The events that wait, of one incident or of all, in the order in which they were written."""
    below = f"{UNRECORDED}/{incident}" if incident else UNRECORDED
    return sorted(hub.list_state(below), key=lambda place: place.rpartition("/")[2])


def record_waiting(hub: StatePort, ledger: Ledger, incident: str = "") -> int:
    """Append to the ledger what waits and is not in it yet, then remove it here; how many entries were appended.

    Safe to run again, and next to others. Raises Unrecorded where the ledger takes nothing, and what the hub raises.
    """
    appended = 0
    for place in waiting_in_hub(hub, incident):
        if entries := _entries_at(hub, place):
            appended += ledger.append_missing(entries)
            hub.delete_state(place)
    return appended


def _entries_at(hub: StatePort, place: str) -> list[Entry]:
    """The entries of one event; none where another process has removed it meanwhile. Raises Invalid."""
    state = hub.read_state(place)
    try:
        return [parse_tail(tail.encode()) for tail in str(state.data["entries"]).split("\n")] if state else []
    except (Invalid, KeyError):
        hint = "Keep it for whoever looks into it, then remove it"
        raise Invalid("read", f"{place} in the hub", "it is not as Keyturn wrote it", hint) from None
