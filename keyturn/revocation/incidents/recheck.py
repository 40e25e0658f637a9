"""Checks closed incidents again after an hour and a day, for late writers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.actor import incident_action
from keyturn.revocation.findings.stray_copies import find_strays
from keyturn.revocation.given_access import find_given, prove_given
from keyturn.revocation.incidents.incident import Event, Incident, IncidentStatus, Result, SecretProgress, Step
from keyturn.revocation.incidents.store import (
    list_incidents,
    load_incident,
    load_progress,
    load_status,
    update_incident,
    update_progress,
)
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult
from keyturn.revocation.verify import prove_secret
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action

LOOKS: Final = (timedelta(hours=1), timedelta(days=1))
"""When to check, counted from the end of the incident."""

LATEST: Final = timedelta(days=7)
"""The age from which an incident is not checked any more."""

AT_ONCE: Final = 8


def is_due(incident: Incident, now: datetime) -> bool:
    """Whether a closed incident, not given up, is due for a check."""
    if incident.closed_at is None or incident.given_up or len(incident.looked_at) >= len(LOOKS):
        return False
    return LOOKS[len(incident.looked_at)] <= now - incident.closed_at < LATEST


def list_due(workspace: Workspace) -> list[Incident]:
    """The closed incidents that are due for a check."""
    return [incident for incident in list_incidents(workspace) if is_due(incident, workspace.clock())]


@incident_action
def recheck_incident(workspace: Workspace, incident: str) -> IncidentStatus:
    """Prove a closed incident once more; a finding opens it again.

    The next run repeats a check that was not possible.
    """
    closed = load_incident(workspace, incident)
    if not is_due(closed, workspace.clock()):
        return load_status(workspace, incident)
    with record_action(workspace, "look at incident", note=f"{incident}, once more") as doing:
        looks = side_by_side(lambda path: recheck_secret(workspace, closed, path), closed.paths, AT_ONCE)
        beside = recheck_strays(workspace, incident)
        prove_given(workspace, closed, list(find_given(workspace, closed, beside)), beside)
        problems = [event.said for look in (*looks, beside) for event in findings(look)]
        doing.note = "; ".join((f"{incident}, once more", *problems))
        if problems:
            reopen_incident(workspace, closed, looks, beside)
        elif not any(look.left for look in (*looks, beside)):
            update_incident(
                workspace, incident, lambda current: replace(current, looked_at=(*closed.looked_at, workspace.clock()))
            )
    return load_status(workspace, incident)


def recheck_secret(workspace: Workspace, incident: Incident, path: str) -> StepResult:
    """The proof of one secret now; empty if it is undeclared."""
    result = StepResult(workspace, Step.PROVE)
    if path in workspace.catalogue.secrets:
        with result.at(""):
            prove_secret(workspace, incident, load_progress(workspace, incident, path), result)
    return result


def recheck_strays(workspace: Workspace, incident: str) -> StepResult:
    """Undeclared copies of leaked or unreadable versions that appeared since."""
    result = StepResult(workspace, Step.PROVE)
    secrets = {secret.path: secret for secret in load_status(workspace, incident).secrets}

    def look(store: str) -> None:
        with result.checking(CheckSubject.ELSEWHERE, store):
            for _, copy, _ in find_strays(workspace, secrets, store, workspace.open_store(store)):
                words = "a copy that nothing declares gives the old value"
                result.check(CheckSubject.ELSEWHERE, f"{store}:{copy.name}", CheckAnswer.REMAINING, words)

    side_by_side(look, sorted(workspace.catalogue.stores), AT_ONCE)
    return result


def findings(look: StepResult) -> Iterator[Event]:
    """The faults; an error with a kind is only a failed check."""
    return (event for event in look.events if event.result is Result.FAILED and not event.kind)


def reopen_incident(workspace: Workspace, incident: Incident, looks: list[StepResult], beside: StepResult) -> None:
    """Open a closed incident again with the findings, so that its steps continue."""
    for path, look in zip(incident.paths, looks, strict=True):
        if any(findings(look)):
            update_progress(workspace, incident, path, lambda current, look=look: look.onto(without_proof(current)))  # type: ignore[misc]
    events = (*incident.events, *beside.events)
    opened = {
        "closed_at": None,
        "looked_at": (),
        "events": events,
        "left": tuple(beside.left),
        "checks": tuple(beside.checks),
    }
    update_incident(workspace, incident.id, lambda current: replace(current, **opened))  # type: ignore[arg-type]


def without_proof(progress: SecretProgress) -> SecretProgress:
    """The progress without its proof."""
    return progress.having(done=tuple(step for step in progress.done if step is not Step.PROVE), clear_at=None)
