"""Requires a large incident's size with the request, against mistakes.

Replacing one secret needs no size. A wrong number is refused before any change.
"""

from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.ledger import Outcome
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry, note_down

FEW: Final = 5
"""Secrets that can be replaced without their number."""

NAMED: Final = 10
"""Names in the text about what would end."""


@dataclass(frozen=True)
class Consent:
    """The requester's consent; ``expect`` is the expected size, 0 without one."""

    expect: int = 0


SILENT: Final = Consent()


def insist_on_consent(workspace: Workspace, wanted: Incident, selection: Selection, consent: Consent) -> None:
    """Raise Invalid, and record it, where the size is missing or wrong; an open incident continues."""
    why, size = why_size_is_asked(selection, wanted.mode), selection.size
    if consent.expect == size or not (why or consent.expect) or is_begun(workspace, wanted):
        return
    problem = f"{consent.expect} were expected, and {size_words(selection)} would end" if consent.expect else why
    refused = entry(workspace, "open incident", Outcome.DENIED, note=f"{wanted.id}: {wanted.selector}: {problem}")
    note_down(workspace, [refused])
    hint = f"It would end {shorten_names(selection)}. Nothing was changed. If that is what you mean, say so:"
    raise Invalid("revoke", wanted.selector, problem, f"{hint} --expect {size}, or the field expect in Prefect")


def why_size_is_asked(selection: Selection, mode: Mode) -> str:
    """Why the size is required; empty where it is not."""
    reasons = (
        (len(selection.paths) > FEW, f"more than {FEW} secrets"),
        (selection.sweeping, "whatever there is"),
        (mode is Mode.REVOKE_ONLY, "something that is not replaced"),
        (bool(selection.leases), "leases by their prefix"),
    )
    dangers = " and ".join(what for is_so, what in reasons if is_so)
    return f"it ends {dangers}, {size_words(selection)}, and how many was not said" if dangers else ""


def size_words(selection: Selection) -> str:
    """The size in words: ``12 in all: 3 secrets and 9 leases``."""
    secrets, leases = len(selection.paths), len(selection.leases)
    kinds = (f"{count} {kind}{'s' * (count != 1)}" for count, kind in ((secrets, "secret"), (leases, "lease")) if count)
    words = " and ".join(kinds)
    return f"{selection.size} in all, {words}" if secrets and leases else words


def shorten_names(selection: Selection) -> str:
    """The first names of what would end."""
    names = (*selection.paths, *selection.leases)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def is_begun(workspace: Workspace, wanted: Incident) -> bool:
    """Whether the hub has the same incident, still open."""
    earlier = incident_store.find_incident(workspace, wanted.id)
    same = earlier is not None and (earlier.paths, earlier.mode) == (wanted.paths, wanted.mode)
    return same and earlier is not None and earlier.closed_at is None
