"""Notifies organisations with a copy that its previous value has ended."""

from typing import Final

from keyturn.catalogue.destinations import DeclaredPlace, Destination
from keyturn.core.notifications.channel import Announcement
from keyturn.revocation.incidents.incident import Incident, Result, SecretProgress, Step
from keyturn.revocation.step_result import StepResult, events_since_replacement
from keyturn.rotation.state.agreements import partners_with
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

ORGANISATION: Final = "organisation "
"""Prefix of the place of such an event."""


def tell_partners(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Notify each partner once; one without a channel is left to a person."""
    events = events_since_replacement(progress.events)
    heard = {event.place for event in events if event.step is Step.NOTIFY and event.result is not Result.FAILED}
    for partner, places in partners_with(workspace.catalogue, progress.path).items():
        if (name := f"{ORGANISATION}{partner}") not in heard:
            with result.at(name):
                tell_partner(workspace, incident, progress, partner, places, result)


def tell_partner(
    workspace: Workspace,
    incident: Incident,
    progress: SecretProgress,
    partner: str,
    places: list[DeclaredPlace],
    result: StepResult,
) -> None:
    """Notify one partner, and record it. Raises the channel's error."""
    name, copies = f"{ORGANISATION}{partner}", ", ".join(map(copy_name, places))
    channel = workspace.partner_channel(partner) if workspace.partner_channel else None
    with record_action(workspace, "tell organisation", progress.path, place=partner, note=incident.id):
        if channel is None:
            words = f"it has a copy ({copies}), and the operator's file names no channel of it: tell it by hand"
            return result.add_remaining(name, words)
        subject = f"Keyturn: {progress.path} of {workspace.catalogue.policy.organisation} is revoked"
        body = f"Your copy: {copies}\nIncident: {incident.id}\nWhoever uses it has to read it again."
        channel.send(Announcement(f"{incident.id}-{partner}-{progress.path}", subject, body))
    return result.add_done(name, f"it has a copy ({copies}), and was told")


def copy_name(place: DeclaredPlace) -> str:
    """A copy's name there; the pattern for copies of each field."""
    return place.name if isinstance(place, Destination) else place.place.name
