"""What the automations' texts say of a workspace; the rest of them is filled in by Prefect, when something happens."""

from typing import Any

from prefect.events.actions import SendNotification

from keyturn.core.workspaces import SECRET, WorkspaceNames


def filled(text: str, workspace: WorkspaceNames) -> str:
    """The text with the workspace's own names in the places of ``<called>``, ``<pool>`` and so on."""
    places = {
        "<called>": workspace.called,
        "<path>": f"{{{{ event.resource.id.removeprefix('{workspace.resource(SECRET, '')}') }}}}",
        "<pool>": workspace.own,
        "<keeper>": workspace.deployment("keeper"),
        "<option>": workspace.option,
    }
    for place, words in places.items():
        text = text.replace(place, words)
    return text


def notification(channel: Any, subject: str, body: str, workspace: WorkspaceNames) -> SendNotification:
    """What is sent through a channel."""
    return SendNotification(block_document_id=channel, subject=filled(subject, workspace), body=filled(body, workspace))
