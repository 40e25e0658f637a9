"""A revocation as plain functions, for commands and callers without Prefect.

Their ledger must never block (``Spooled``): an intruder does not wait for disk space.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final, TypeVar

from keyturn.core.actor import working_at
from keyturn.core.errors import Conflict, Denied, Invalid, TransientError
from keyturn.core.ports.conductor import Conductor, conduct
from keyturn.core.ports.hub import Right
from keyturn.core.ports.ledger import Outcome
from keyturn.revocation import protocol
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.consent import SILENT, Consent, insist_on_consent, is_begun
from keyturn.revocation.incidents.hourly_limits import insist_on_incident_pace
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Mode
from keyturn.revocation.left_out import list_left_out
from keyturn.revocation.selector import Selection
from keyturn.rotation.state.actions import Deed
from keyturn.rotation.state.approvals import insist_on_approval
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import actor_of, entry, note_down, record_action, remark_of_process


def insist_on_second_person(workspace: Workspace, wanted: Incident) -> None:
    """Raise Denied where the incident needs an approval, and has none for exactly this.

    An open incident continues.
    """
    if needs_second_person(workspace, wanted) and not is_begun(workspace, wanted):
        insist_on_approval(workspace, deed_of(wanted))


def needs_second_person(workspace: Workspace, wanted: Incident) -> bool:
    """Whether the site's rules require an approval."""
    settings, size = workspace.approvals, len(wanted.paths) + len(wanted.leases)
    large = settings.incidents_over is not None and size > settings.incidents_over
    return large or (settings.revoke_only and wanted.mode is Mode.REVOKE_ONLY)


def deed_of(wanted: Incident) -> Deed:
    """The approved action: secrets, leases, mode and reason."""
    about = {
        "secrets": list(wanted.paths),
        "leases": list(wanted.leases),
        "mode": str(wanted.mode),
        "reason": wanted.reason,
    }
    return Deed("revoke", about, wanted.selector, wanted.id, len(wanted.paths) + len(wanted.leases))


T = TypeVar("T")

PAUSES: Final = (1.0, 2.0, 4.0)
"""Seconds between retries."""


def begin(
    workspace: Workspace,
    selection: Selection,
    *,
    incident: str,
    reason: str,
    mode: Mode,
    selector: str,
    triggered_at: datetime,
    consent: Consent = SILENT,
) -> Incident:
    """Open the incident in the hub, then end every chosen credential and temporary access, in parallel.

    Called again with the same name it continues. Failed ends keep the incident open, and raise nothing. Before any
    change it raises Denied without a right or approval, OverLimit, and Invalid for a missing or wrong size, or another
    incident's name.
    """
    request = Incident(
        incident,
        reason,
        mode,
        selector,
        actor_of(workspace),
        triggered_at,
        workspace.clock(),
        selection.paths,
        selection.leases,
        remark=remark_of_process(),
        left_out=list_left_out(workspace.catalogue),
        missed=selection.missed,
    )
    with working_at(incident):
        insist_on_consent(workspace, request, selection, consent)
        insist_on_rights(workspace, selection, incident)
        insist_on_second_person(workspace, request)
        insist_on_incident_pace(workspace, request)
        opened = create_or_find(workspace, request)
        conduct_here(workspace, protocol.take_ending(opened))
    return opened


def create_or_find(workspace: Workspace, request: Incident) -> Incident:
    """The new incident, or the same one from an earlier run. Raises Invalid."""
    with record_action(
        workspace, "open incident", note=f"{request.id}: {request.reason} ({request.selector}, {request.mode})"
    ):
        try:
            return incident_store.create_incident(workspace, request)
        except (Conflict, TransientError):  # also where only the hub's answer was lost
            existing = incident_store.find_incident(workspace, request.id)
            if existing is None:
                raise
    if (existing.paths, existing.mode) != (request.paths, request.mode) or existing.closed_at:
        stands = "closed" if existing.closed_at else "about other secrets, or in another mode"
        problem = f"there is an incident of that name, which is {stands}"
        raise Invalid(
            "open", f"incident {request.id}", problem, "Choose another name, or resume that one by its name alone"
        )
    return existing


def insist_on_rights(workspace: Workspace, selection: Selection, incident: str) -> None:
    """Raise Denied, and record it, where this login lacks a right, before any change."""
    lacking = workspace.hub.missing_capabilities(list(rights_needed(workspace, selection.paths, incident)))
    if not lacking:
        return
    missing = ", ".join(f"{right.capability} on {right.path}" for right in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    refused = [
        entry(workspace, "revoke", Outcome.DENIED, path, note=f"{incident}: lacks {missing}")
        for path in selection.paths
    ]
    note_down(workspace, refused)
    hint = "Use the revoker's login, whose policy `keyturn setup hub --apply` writes; nothing was changed"
    name = selection.paths[0] if len(selection.paths) == 1 else f"{len(selection.paths)} secrets"
    raise Denied("revoke", name, f"this login to the hub lacks {missing}{more}", hint)


def rights_needed(workspace: Workspace, paths: Collection[str], incident: str) -> Iterator[Right]:
    """The rights in the hub that a revocation requires."""
    hub = workspace.hub
    yield Right("create", f"{hub.state_mount}/data/incidents/{incident}/head")
    for path in paths:
        yield Right("update", f"{hub.state_mount}/data/rotations/{path}")
        yield Right("read", hub.address("data", path))
        yield Right("update", hub.address("data", path))
        yield Right("update", hub.address("destroy", path))


# --- the rest of it


def restore_service(workspace: Workspace, incident: Incident) -> None:
    """Replace and push first: until then the users of the secrets are cut off."""
    conduct_here(workspace, protocol.take_phase(incident, protocol.SERVING))


def tell_and_clear(workspace: Workspace, incident: Incident) -> None:
    """Notify consumers and, without waiting for them, clear hub and stores."""
    conduct_here(workspace, protocol.take_phases(incident, protocol.BESIDE))


def finish(workspace: Workspace, incident: str, before: IncidentStatus | None = None) -> IncidentStatus:
    """Continue an incident until nothing is left, with a few retries; skip what was done ``before``.

    Raises NotFound, and TransientError where the hub can't be asked.
    """
    return conduct_here(workspace, protocol.see_through(incident, PAUSES, before))


def conduct_here(workspace: Workspace, wanted: Conductor[T]) -> T:
    """Call each step of a protocol, and run parallel ones in threads."""
    return conduct(wanted, lambda step: step.verb.body(workspace, *step.arguments, **step.options), side_by_side)
