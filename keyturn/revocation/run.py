"""A revocation from its trigger to its proof: what a command, a flow, or a worker that finds it half done runs.

Who runs it gives it a ledger that holds nothing up (:class:`keyturn.ledger.spool.Spooled`): an intruder does not wait
until a disk has room again.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, TransientError
from keyturn.core.hub import Right
from keyturn.core.ledger import Outcome
from keyturn.revocation import incident_store
from keyturn.revocation.incident import STEPS, Incident, IncidentStatus, Mode, SecretProgress, Step
from keyturn.revocation.purge import clear_hub, clear_stores
from keyturn.revocation.replace import push_everywhere, replace_leaked, tell_everyone
from keyturn.revocation.revoke import cut_credentials
from keyturn.revocation.selector import Selection
from keyturn.revocation.step_result import StepFunction, StepResult, is_repeated
from keyturn.revocation.strays import clear_strays
from keyturn.revocation.verify import prove_secret
from keyturn.rotation.context import Workspace, side_by_side
from keyturn.rotation.journal import entry, note_down, record_action

AT_ONCE: Final = 16
"""Secrets that are cut at once: before anything else is done."""

SIDE_BY_SIDE: Final = 8
"""Secrets that are replaced at once."""

SERVING: Final = (Step.REPLACE, Step.PUSH, Step.NOTIFY)
"""What those who use a secret wait for."""

TRIES: Final = 4
PAUSE: Final = 1.0
"""Seconds before the first of several tries, doubled each time."""


def begin(
    workspace: Workspace,
    selection: Selection,
    *,
    incident: str,
    reason: str,
    mode: Mode,
    selector: str,
    triggered_at: datetime,
    actor: str,
) -> Incident:
    """Open the incident in the hub, and end every chosen credential at its target, side by side.

    Called again with the same name it goes on. What can't be ended keeps the incident open, and raises nothing. Raises
    Denied, before anything is changed, where the login lacks a right, and Invalid where the name is another incident's.
    """
    insist_on_rights(workspace, selection, incident)
    request = Incident(
        incident, reason, mode, selector, actor, triggered_at, workspace.clock(), selection.paths, selection.leases
    )
    opened = create_or_find(workspace, request)
    cut_all(workspace, opened)
    return opened


def create_or_find(workspace: Workspace, request: Incident) -> Incident:
    """The incident as the hub has it: new, or the same one that an earlier run opened. Raises Invalid."""
    with record_action(
        workspace, "open incident", note=f"{request.id}: {request.reason} ({request.selector}, {request.mode})"
    ):
        try:
            return incident_store.create_incident(workspace, request)
        except (Conflict, TransientError):  # also where the hub's answer alone was lost
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
    """Whether the hub lets this login do all of it; asked before anything is changed. Raises Denied, and records it."""
    lacking = workspace.hub.lacking(list(rights_needed(workspace, selection.paths, incident)))
    if not lacking:
        return
    missing = ", ".join(f"{right.capability} on {right.path}" for right in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    refused = [
        entry(workspace, "revoke", Outcome.DENIED, path, note=f"{incident}: lacks {missing}")
        for path in selection.paths
    ]
    note_down(workspace, refused)
    hint = "Use the login of the revoker (deployments/policies/keyturn-revoker.hcl); nothing was changed"
    raise Denied("revoke", f"{len(selection.paths)} secrets", f"this login to the hub lacks {missing}{more}", hint)


def rights_needed(workspace: Workspace, paths: Collection[str], incident: str) -> Iterator[Right]:
    """What the hub has to allow."""
    hub = workspace.hub
    yield Right("create", f"{hub.state_mount}/data/incidents/{incident}/head")
    for path in paths:
        yield Right("update", f"{hub.state_mount}/data/rotations/{path}")
        yield Right("read", hub.address("data", path))
        yield Right("update", hub.address("data", path))
        yield Right("update", hub.address("destroy", path))


def cut_all(workspace: Workspace, incident: Incident) -> None:
    """End every credential of the incident, side by side; one that fails stops no other."""
    side_by_side(lambda path: take_step(workspace, incident, path, Step.CUT), incident.paths, AT_ONCE)


# --- one step of one secret --------------------------------------------------------------------------------


DOERS: Final[dict[Step, StepFunction]] = {
    Step.CUT: cut_credentials,
    Step.REPLACE: replace_leaked,
    Step.PUSH: push_everywhere,
    Step.NOTIFY: tell_everyone,
    Step.HUB: clear_hub,
    Step.FORGET: clear_stores,
    Step.PROVE: prove_secret,
}


def take_step(workspace: Workspace, incident: Incident, path: str, step: Step) -> SecretProgress:
    """One step of one secret; what goes wrong is part of the progress, and not raised. Done before is success."""
    progress, result = SecretProgress(path, ""), StepResult(workspace, step)
    with result.at(""):
        progress = incident_store.load_progress(workspace, incident, path)
        if step in progress.done:
            return progress
        if path not in workspace.catalogue.secrets:
            result.add_left("", "the catalogue declares it no more", "Put it back there until the incident is closed")
        elif step is not Step.CUT and progress.cut_at is None:
            result.add_left("", "its credential is not ended yet")
        elif step is Step.CUT:  # it records itself, once the secret is in its hands
            DOERS[step](workspace, incident, progress, result)
        else:
            with record_action(workspace, f"revoke: {step}", path, note=incident.id) as doing:
                DOERS[step](workspace, incident, progress, result)
                doing.version = result.changes.get("version", progress.version)
                doing.fingerprint = result.changes.get("fingerprint", progress.fingerprint)
                doing.note = "; ".join((incident.id, *result.left))
    return save_progress(workspace, incident, progress, result)


def save_progress(
    workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult
) -> SecretProgress:
    """The progress with what a step has done, in the hub; where that can't be written, the step is left to be done."""
    try:
        return incident_store.update_progress(workspace, incident, progress.path, result.onto)
    except KeyturnError as error:
        result.add_failure("", error)
        return result.onto(progress)


def restore_service(workspace: Workspace, incident: Incident) -> None:
    """Replace, push and tell: until then whoever uses the secrets is cut off. The rest hurries less."""

    def one(path: str) -> None:
        for step in STEPS[incident.mode]:
            if step in SERVING:
                take_step(workspace, incident, path, step)

    side_by_side(one, incident.paths, SIDE_BY_SIDE)


def take_steps(workspace: Workspace, incident: Incident, path: str) -> None:
    """Every step of one secret that is not done yet, in order."""
    for step in STEPS[incident.mode]:
        take_step(workspace, incident, path, step)


# --- the incident as a whole -------------------------------------------------------------------------------


def finish(workspace: Workspace, incident: str) -> IncidentStatus:
    """Go on with an incident until nothing is left, a few times over what may pass by itself.

    Raises NotFound, and TransientError where the hub can't be asked to the end.
    """
    for attempt in range(TRIES):
        last = attempt == TRIES - 1
        try:
            stands = try_all(workspace, incident)
        except TransientError:
            if last:
                raise
        else:
            if not stands.open or last:
                return stands
        workspace.sleep(PAUSE * 2**attempt)
    raise AssertionError("unreachable")


def try_all(workspace: Workspace, incident: str) -> IncidentStatus:
    """How an incident stands once all that is left of it was tried; one that is closed is left alone."""
    current = incident_store.load_incident(workspace, incident)
    if current.closed_at:
        return incident_store.load_status(workspace, incident)
    cut_all(workspace, current)
    side_by_side(lambda path: take_steps(workspace, current, path), current.paths, SIDE_BY_SIDE)
    return conclude_incident(workspace, current)


def conclude_incident(workspace: Workspace, incident: Incident) -> IncidentStatus:
    """End the leases, remove copies that nothing declares now, and close the incident where nothing is left."""
    result = StepResult(workspace, Step.PROVE)
    for lease in incident.leases:
        result.attempt(lease, lambda lease=lease: end_lease(workspace, lease))  # type: ignore[misc]
    status = incident_store.load_status(workspace, incident.id)
    side_by_side(
        lambda store: clear_strays(workspace, status, store, result), sorted(workspace.catalogue.stores), AT_ONCE
    )
    over = not result.left and all(set(STEPS[incident.mode]) <= set(secret.done) for secret in status.secrets)
    closed_at = workspace.clock() if over else None

    def lay(current: Incident) -> Incident:
        fresh = [event for event in result.events if not is_repeated(event, current.events)]
        events = (*current.events, *fresh)
        return replace(
            current, events=events, left=tuple(dict.fromkeys(result.left)), closed_at=current.closed_at or closed_at
        )

    with record_action(workspace, "close incident" if over else "look at incident", note=incident.id) as doing:
        changed = incident_store.update_incident(workspace, incident.id, lay)
        doing.note = "; ".join((incident.id, *result.left))
    return IncidentStatus(changed, status.secrets)


def end_lease(workspace: Workspace, lease: str) -> str:
    """End a lease that was chosen by its prefix. Absent is success."""
    with record_action(workspace, "revoke lease", place=lease):
        workspace.hub.revoke_lease(lease)
    return "the lease is ended"
