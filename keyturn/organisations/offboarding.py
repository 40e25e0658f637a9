"""The end of a project: ends all that it has, and separates what is proven from what is not.

Its secrets end through an incident without replacement (:mod:`keyturn.revocation`). The state is in the hub, so any
later run continues.
"""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.ports.ledger import Outcome
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.rotation_record import Record
from keyturn.core.workspaces import WorkspaceNames
from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.organisations.hub_logins import made_for, remove_made
from keyturn.organisations.offboarding_store import Offboarding, claim_project, find_offboarding, update_offboarding
from keyturn.organisations.projects import left_to_people, project_paths, shared_uses
from keyturn.revocation import run
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, Step
from keyturn.revocation.preview import Preview, preview_revocation
from keyturn.revocation.selector import Selection
from keyturn.rights.hub_apply import HubPort
from keyturn.rights.hub_record import read_record
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry, note_down, record_action
from keyturn.rotation.state.record_store import update_record

T = TypeVar("T")

BEGIN, REMOVE, END = "offboard", "remove from the hub", "offboarded"
"""The ledger's names for its parts; access requests keep their own."""


@dataclass(frozen=True)
class OffboardingPlan:
    """What would end with a project; ``unseen`` could not be read."""

    project: str
    secrets: Preview
    shared: tuple[str, ...]
    requests: tuple[str, ...]
    hub: tuple[str, ...]
    remains: tuple[str, ...]
    unseen: tuple[str, ...]


@dataclass
class _Sight:
    """Reads what a project has apart from secrets, and records what it can't read."""

    workspace: Workspace
    setup: HubPort
    paths: tuple[str, ...]
    unseen: list[str] = field(default_factory=list)

    def open_requests(self) -> list[AccessRequest]:
        """Open requests for access to these secrets."""
        return self.see("requests for access", self._requests) or []

    def _requests(self) -> list[AccessRequest]:
        listed, malformed = requests.list_requests(self.workspace)
        self.unseen += [f"{error.name}: {error.problem}" for error in malformed]
        return [request for request in listed if request.path in self.paths and not request.closed]

    def made(self) -> tuple[str, ...]:
        """What was made in the hub for these secrets alone."""
        return self.see("logins and roles that `keyturn setup hub --apply` has made", self._made) or ()

    def _made(self) -> tuple[str, ...]:
        places = HubPlaces(house=WorkspaceNames.from_environment(os.environ).own)
        return made_for(read_record(self.setup), self.workspace.catalogue, self.paths, places)

    def see(self, what: str, act: Callable[[], T]) -> T | None:
        """The result, or None, recorded as unseen, where it fails."""
        try:
            return act()
        except KeyturnError as error:
            self.unseen.append(f"{what}: {error.problem}")
            return None


def plan_offboarding(workspace: Workspace, setup: HubPort, project: str) -> OffboardingPlan:
    """What would end, and who would notice; nothing is changed. Raises NotFound."""
    paths = project_paths(workspace.catalogue, project)
    sight = _Sight(workspace, setup, paths)
    return OffboardingPlan(
        project,
        preview_revocation(workspace, Selection(paths), Mode.REVOKE_ONLY),
        tuple(f"{use.path}: {use.why}" for use in shared_uses(workspace.catalogue, paths)),
        tuple(f"{request.id}: {request.words}" for request in sight.open_requests()),
        sight.made(),
        tuple(left_to_people(workspace.catalogue, paths, workspace.hub.state_mount)),
        tuple(sight.unseen),
    )


# --- ending it


def offboard_project(
    workspace: Workspace, setup: HubPort, project: str, reason: str, shared: tuple[str, ...], consent: Consent
) -> tuple[Offboarding, IncidentStatus]:
    """End all that a project has, or continue, and return the state; it finishes after its incident.

    Raises Invalid where others use a secret outside ``shared``, and the errors of a new incident.
    """
    begun = begin_offboarding(workspace, project, reason, shared, consent)
    status = incident_store.load_status(workspace, begun.incident)
    if status.open:
        status = run.finish(workspace, begun.incident)
    if status.open or begun.finished_at:
        return begun, status
    return finish_offboarding(workspace, setup, begun, status), status


def begin_offboarding(
    workspace: Workspace, project: str, reason: str, shared: tuple[str, ...], consent: Consent
) -> Offboarding:
    """The present offboarding, unless the project has something new; else a new one."""
    paths = project_paths(workspace.catalogue, project)
    current = find_offboarding(workspace, project)
    if current and incident_store.find_incident(workspace, current.incident) and not came_since(workspace, current):
        return current
    insist_on_shared(workspace, project, paths, shared)
    wanted = claim_project(workspace, new_offboarding(workspace, project, reason, paths, shared), current)
    with record_action(workspace, BEGIN, note=f"{wanted.incident}: project {project}: {reason}"):
        run.begin(
            workspace,
            Selection(wanted.paths),
            incident=wanted.incident,
            reason=f"project {project} is offboarded: {reason}",
            mode=Mode.REVOKE_ONLY,
            selector=f"project {project}",
            triggered_at=datetime.fromisoformat(wanted.begun_at),
            consent=consent,
        )
    return wanted


def came_since(workspace: Workspace, offboarding: Offboarding) -> bool:
    """Whether the project has a new or rewritten secret since its offboarding."""
    if not offboarding.finished_at:
        return False
    paths = project_paths(workspace.catalogue, offboarding.project)
    described = workspace.hub.describe_many(paths)
    return not set(paths) <= set(offboarding.paths) or any(info.served for info in described.values())


def insist_on_shared(workspace: Workspace, project: str, paths: tuple[str, ...], shared: tuple[str, ...]) -> None:
    """Raise Invalid, and record it, where others use a secret outside ``shared``."""
    uses = {use.path: use.why for use in shared_uses(workspace.catalogue, paths) if use.path not in shared}
    if not uses:
        return
    problem = "; ".join(f"{path}: {why}" for path, why in uses.items())
    note_down(workspace, [entry(workspace, BEGIN, Outcome.DENIED, path, note=uses[path]) for path in uses])
    names = " ".join(f"--shared {path}" for path in uses)
    hint = f"Nothing was changed. Take it out of the project, or end it for all who use it: {names}"
    raise Invalid("offboard", f"project {project}", problem, hint)


def new_offboarding(
    workspace: Workspace, project: str, reason: str, paths: tuple[str, ...], shared: tuple[str, ...]
) -> Offboarding:
    """A new offboarding, with nothing done yet."""
    now = workspace.clock()
    incident = incident_store.new_incident_id(now).replace("INC", "OFF", 1)
    ours = tuple(path for path in shared if path in paths)
    actor, digest = workspace.hub.identity().words, workspace.catalogue.digest
    return Offboarding(project, incident, reason, paths, ours, digest, actor, now.isoformat())


def finish_offboarding(workspace: Workspace, setup: HubPort, begun: Offboarding, status: IncidentStatus) -> Offboarding:
    """End the rest of the project; record the result in the ledger, then in the hub."""
    sight = _Sight(workspace, setup, begun.paths)
    for path in begun.paths:
        forget_other_fields(workspace, path)
    noted = note_rest(workspace, sight, begun)
    for name in noted.requests:
        sight.see(name, partial(end_request, workspace, noted, name))
    for key in noted.removed:
        sight.see(key, partial(remove_from_hub, workspace, setup, noted, key))
    made = replace(
        noted,
        remains=tuple(remains_of(workspace, begun, status)),
        unproven=(*unproven_of(workspace, begun, status), *sight.unseen),
        finished_at=workspace.clock().isoformat(),
    )
    note_down(workspace, [entry(workspace, END, Outcome.DONE, note=made.note)])
    return update_offboarding(workspace, begun, lambda _: made)


def note_rest(workspace: Workspace, sight: _Sight, begun: Offboarding) -> Offboarding:
    """Store what else will end, so that a crash leaves nothing out."""
    names = [request.id for request in sight.open_requests()]
    made = sight.made()

    def noted(current: Offboarding) -> Offboarding:
        return replace(current, requests=_union(current.requests, names), removed=_union(current.removed, made))

    return update_offboarding(workspace, begun, noted)


def _union(before: Collection[str], more: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *more)))


def forget_other_fields(workspace: Workspace, path: str) -> None:
    """Delete the fields stored for a next credential."""

    def bare(record: Record) -> Record | None:
        return replace(record, rest=None) if record.frozen and record.rest is not None else None

    update_record(workspace, path, bare)


def end_request(workspace: Workspace, begun: Offboarding, name: str) -> None:
    """End a request for access. Ended before is success."""
    because = f"{begun.incident}: project {begun.project} is offboarded"
    request = requests.find_request(workspace, name)
    requests.close(workspace, request, requests.RequestState.ENDED, begun.actor, because)


def remove_from_hub(workspace: Workspace, setup: HubPort, begun: Offboarding, key: str) -> None:
    """Remove what was made in the hub for its secrets alone. Absent is success."""
    with record_action(workspace, REMOVE, place=key, note=begun.incident):
        remove_made(setup, key)


def remains_of(workspace: Workspace, begun: Offboarding, status: IncidentStatus) -> Iterator[str]:
    """What a service can't remove, what still works, and what people made."""
    for secret in status.secrets:
        yield from (f"{secret.path}: {words}" for words in (*secret.remains, *secret.outlives))
    yield from left_to_people(workspace.catalogue, begun.paths, workspace.hub.state_mount)


def unproven_of(workspace: Workspace, begun: Offboarding, status: IncidentStatus) -> Iterator[str]:
    """The incident's open work, secrets that serve again, and new ones of the project."""
    yield from status.left
    for secret in status.secrets:
        if Step.PROVE not in secret.done and not secret.left:
            yield f"{secret.path}: it is not proven that nothing of it is left"
    for path, info in workspace.hub.describe_many(begun.paths).items():
        if info.served:
            yield f"{path}: it was written again since"
    for path in project_paths(workspace.catalogue, begun.project):
        if path not in begun.paths:
            yield f"{path}: it came to the project meanwhile"
