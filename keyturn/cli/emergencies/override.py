"""Continuing in an emergency although the operator's policy refuses the catalogue: with a note and a ledger entry."""

from dataclasses import replace
from typing import TYPE_CHECKING

from keyturn.cli.output import note

if TYPE_CHECKING:
    from keyturn.cli.emergencies.request import RevocationRequest
    from keyturn.rotation.state.context import Workspace

ACTION = "override policy"
"""The action's name in the ledger."""

SHOWN = 3
"""Number of waived breaches in the incident's reason; the ledger's entry has as many as fit."""


def note_override(workspace: "Workspace", request: "RevocationRequest") -> "RevocationRequest":
    """Show and record what was waived for this command; the request's reason then includes it."""
    from keyturn.core.ports.ledger import Outcome
    from keyturn.rotation.state.journal import entry, note_down

    waived = workspace.catalogue.waived
    if not waived:
        note("--override-policy: nothing had to be overridden")
        return request
    lines = [f"OVERRIDING THE OPERATOR'S POLICY, for this command alone, which the ledger keeps ({len(waived)}):"]
    note("\n".join([*lines, *(f"  {breach}" for breach in waived)]))
    why = f"{request.reason or request.incident or 'an open incident'}: {'; '.join(waived)}"
    note_down(workspace, [entry(workspace, ACTION, Outcome.DONE, note=why)])
    if not request.reason:
        return request
    more = "" if len(waived) <= SHOWN else f", and {len(waived) - SHOWN} more"
    return replace(request, reason=f"{request.reason} (policy overridden: {'; '.join(waived[:SHOWN])}{more})")
