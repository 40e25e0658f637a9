"""Going on in an emergency with a catalogue that the operator's policy refuses: loudly, and with an entry of it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from keyturn.cli.output import note

if TYPE_CHECKING:
    from keyturn.cli.emergencies.request import RevocationRequest
    from keyturn.rotation.state.context import Workspace

ACTION = "override policy"
"""What the ledger calls it."""

SHOWN = 3
"""How many of the things that were let pass stand in the incident's reason; the ledger's entry has all it can hold."""


def note_override(workspace: "Workspace", request: "RevocationRequest") -> "RevocationRequest":
    """Say and write down what was let pass for this command alone; the request, whose reason tells it too."""
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
