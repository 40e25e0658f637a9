"""Inserts a workspace's names into the automations' texts."""

from typing import Any

from prefect.events.actions import SendNotification

from keyturn.core.workspaces import SECRET, WorkspaceNames


def filled(text: str, workspace: WorkspaceNames) -> str:
    """The text with the workspace's names for ``<called>``, ``<path>``, ``<pool>``, ``<keeper>`` and ``<option>``."""
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
    return SendNotification(block_document_id=channel, subject=filled(subject, workspace), body=filled(body, workspace))
