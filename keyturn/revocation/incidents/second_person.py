"""The incidents that need a second person's approval, and what is approved."""

from keyturn.revocation.incidents.consent import is_begun
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.rotation.state.actions import Deed
from keyturn.rotation.state.approvals import insist_on_approval
from keyturn.rotation.state.context import Workspace


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
