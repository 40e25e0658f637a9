"""The state of secrets for Prefect's pages, as in `keyturn status`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from keyturn.catalogue.models import Secret
from keyturn.cli.programs.hearing import Answer, Hearing, Hearings
from keyturn.cli.secrets.copies import look_at_copies
from keyturn.cli.secrets.dashboard import level_of
from keyturn.cli.secrets.secret_status import SecretStatus, secret_status, secret_statuses
from keyturn.core.schedule.windows import told
from keyturn.pages.dashboard import Level
from keyturn.pages.secret_graph import Node, SecretGraph, age_of
from keyturn.revocation.incidents.store import list_open
from keyturn.rotation.copies.push import CopyState, Pushed
from keyturn.rotation.copies.push import look_at_copies as look_at_places
from keyturn.rotation.state.context import Workspace
from tasks.step import task
from tasks.step_names import target_of
from tasks.workspace import current_workspace

Row = dict[str, str | int]

UNANSWERED: Final = (Answer.SILENT, Answer.UNKNOWN)


@task("look at secrets")
def draw_secrets(copies: Mapping[str, Sequence[Pushed] | None], previous: Mapping[str, str]) -> dict[str, SecretGraph]:
    """Each secret with its observed copies; copies that were not observed are read now.

    ``previous`` states, for some secrets, what happened to the old credential.
    """
    workspace = current_workspace()
    hearings = Hearings.load(workspace, copies)
    return {
        path: draw_secret(
            workspace,
            secret_status(workspace, path, None, hearings),
            pushed_nodes(look_at_places(workspace, path) if places is None else places),
            previous.get(path, ""),
        )
        for path, places in copies.items()
    }


def draw_secret(workspace: Workspace, status: SecretStatus, copies: list[Node], previous: str) -> SecretGraph:
    declared = workspace.catalogue.secret(status.path)
    age, limit = age_and_limit(status, declared)
    return SecretGraph(
        Node(status.path, ", ".join(status.lines()), level_of(status)),
        declared.rotation.strategy,
        target_of(workspace, status.path),
        copies,
        [Node(hearing.consumer, str(hearing.answer), hearing_level(hearing)) for hearing in status.consumers],
        status.now,
        age,
        limit,
        status.outlook.at if status.outlook else None,
        previous,
    )


def pushed_nodes(places: Sequence[Pushed]) -> list[Node]:
    return [Node(f"{place.store}:{place.name}", pushed_words(place), pushed_level(place)) for place in places]


def pushed_words(place: Pushed) -> str:
    if place.error:
        return place.error
    in_step = place.state in (CopyState.CREATED, CopyState.UPDATED, CopyState.LABELLED)
    return f"version {place.version}, {CopyState.IN_STEP if in_step else place.state}"


def pushed_level(place: Pushed) -> Level:
    return Level.WELL if place.in_step else Level.BAD


def hearing_level(hearing: Hearing) -> Level:
    return Level.BAD if hearing.answer in UNANSWERED else Level.SOON if hearing.answer is Answer.WAITS else Level.WELL


def age_and_limit(status: SecretStatus, declared: Secret) -> tuple[int | None, int | None]:
    limit = declared.rotation.schedule.maximum_age
    age = (status.now - status.rotated_at).days if status.rotated_at else None
    return age, limit.days if limit else None


@task("look at all secrets")
def list_rows(catalogue: str) -> list[Row]:
    """One row per secret of the catalogue, the urgent ones first."""
    workspace = current_workspace()
    statuses, _ = secret_statuses(workspace, look_at_copies)
    incidents = incidents_by_path(workspace)
    ordered = sorted(statuses, key=lambda status: (level_of(status).rank, status.path))
    return [secret_row(workspace, status, incidents.get(status.path, "")) for status in ordered]


def secret_row(workspace: Workspace, status: SecretStatus, incidents: str) -> Row:
    in_step = sum(copy.state == CopyState.IN_STEP for copy in status.copies)
    heard = sum(hearing_level(hearing) is Level.WELL for hearing in status.consumers)
    return {
        "secret": status.path,
        "state": ", ".join(status.lines()),
        "age": age_of(*age_and_limit(status, workspace.catalogue.secret(status.path))),
        "next turn": told(status.outlook.at) if status.outlook and status.outlook.at else "",
        "copies in sync": f"{in_step} of {len(status.copies)}" if status.copies else "",
        "consumers notified": f"{heard} of {len(status.consumers)}" if status.consumers else "",
        "incidents": incidents,
    }


def incidents_by_path(workspace: Workspace) -> dict[str, str]:
    """The open incidents of each secret; an unreadable one may affect any secret."""
    by_path: dict[str, list[str]] = defaultdict(list)
    for incident in list_open(workspace):
        for path in workspace.catalogue.secrets if incident.unread else incident.paths:
            by_path[path].append(f"{incident.id}, which can't be read" if incident.unread else incident.id)
    return {path: ", ".join(ids) for path, ids in by_path.items()}
