"""Ends temporary access to revoked secrets with the incident, without other processes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from keyturn.core.actor import incident_action
from keyturn.revocation.incidents.incident import Incident, Step
from keyturn.revocation.incidents.store import update_incident
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult, is_repeated
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.grant_store import (
    AccessGrant,
    Ending,
    GrantStage,
    end_grant,
    list_grants,
    open_maker,
    read_grant,
)
from keyturn.strategies.vault_dynamic import VaultDynamicSettings

AT_ONCE: Final = 16
"""Grants that are ended in parallel."""

PATIENCE: Final = timedelta(seconds=5)
"""How long to wait for the hub, which ends accounts after their token."""
LOOK: Final = 0.25
"""Seconds between two checks."""


@incident_action
def end_given_access(workspace: Workspace, incident: Incident) -> None:
    """End the temporary access to an incident's secrets, and record the outcome in it.

    Failures are retried at the incident's conclusion, and keep it open.
    """
    result = StepResult(workspace, Step.CUT)
    end_given(workspace, incident, result)

    def lay(current: Incident) -> Incident:
        fresh = (event for event in result.events if not is_repeated(event, current.events))
        return replace(current, events=(*current.events, *fresh))

    if result.events:
        update_incident(workspace, incident.id, lay)


def end_given(workspace: Workspace, incident: Incident, result: StepResult) -> list[AccessGrant]:
    """End each grant of an incident, and return them all. Ended before is success."""
    concerned = list(find_given(workspace, incident, result))

    def end(grant: AccessGrant) -> None:
        if grant.stage != GrantStage.ENDED:
            result.attempt(grant.request, lambda: end_one(workspace, incident, grant))

    side_by_side(end, concerned, AT_ONCE)
    return concerned


def end_one(workspace: Workspace, incident: Incident, grant: AccessGrant) -> str:
    """End one grant, as every sweep does, and return the outcome in words."""
    end_grant(workspace, grant, Ending(why_of(incident)))
    return f"what {grant.principal or grant.entity} had temporarily has ended: {grant.path}, {grant.credential}"


def why_of(incident: Incident) -> str:
    """The reason for the end, the same from every process."""
    return f"an incident is about the secret: {incident.id}"


def find_given(workspace: Workspace, incident: Incident, result: StepResult) -> Iterator[AccessGrant]:
    """Yield an incident's open grants, and those that ended for it; unreadable ones stay to do."""
    grants: list[AccessGrant] = []
    with result.at(""):
        grants, malformed = list_grants(workspace)
        for error in malformed:
            result.add_failure(error.name, error)
    roles = set(roles_of(workspace, incident))
    for grant in grants:
        about = grant.path in incident.paths or grant.credential in roles
        ended_for_it = grant.stage == GrantStage.ENDED and incident.id in grant.because
        if about and incident.id not in grant.incidents and (grant.stage != GrantStage.ENDED or ended_for_it):
            yield grant


def roles_of(workspace: Workspace, incident: Incident) -> Iterator[str]:
    """The paths of the hub's roles whose credentials an incident ends."""
    for path in incident.paths:
        secret = workspace.catalogue.secrets.get(path)
        if secret and isinstance(secret.rotation, VaultDynamicSettings):
            yield from secret.rotation.lease_places


# --- the proof


def prove_given(workspace: Workspace, incident: Incident, concerned: list[AccessGrant], result: StepResult) -> None:
    """Check that each grant, its token and its account have ended."""

    def look(grant: AccessGrant) -> None:
        with result.checking(CheckSubject.ACCESS, grant.request):
            if fault := fault_of(workspace, grant):
                result.check(CheckSubject.ACCESS, grant.request, CheckAnswer.REMAINING, fault, "It is tried again")

    side_by_side(look, concerned, AT_ONCE)
    for credential in sorted({grant.credential for grant in concerned if not grant.account}):
        with result.checking(CheckSubject.ACCESS, credential):
            if unfinished := wait_for_end(workspace, credential):
                hint = "The hub keeps trying: see its log, and check that the target answers it"
                words = (
                    f"the hub has not ended {len(unfinished)} accounts yet whose time is up: {', '.join(unfinished)}"
                )
                result.check(CheckSubject.ACCESS, credential, CheckAnswer.REMAINING, words, hint)
    names = ", ".join(sorted(grant.request for grant in concerned))
    if concerned and not result.left:
        result.add_done("", f"temporary access has ended, with its accounts: {names}")
    if all(check.answer is CheckAnswer.CLEAR for check in result.checks if check.subject is CheckSubject.ACCESS):
        result.check(CheckSubject.ACCESS, "", CheckAnswer.CLEAR if concerned else CheckAnswer.NONE, names)


def fault_of(workspace: Workspace, grant: AccessGrant) -> str:
    """What is left of a grant, else empty."""
    stored = read_grant(workspace, grant.place)
    if stored is not None and stored.grant.stage != GrantStage.ENDED:
        return f"temporary access has not ended: it is {stored.grant.stage}"
    if grant.account:
        left = grant.account in open_maker(workspace, grant.credential).own()
        return f"its account {grant.account} is there still" if left else ""
    hub = workspace.hub.grants()
    return "its token lives still" if hub.tokens(grant.place) else ""


def wait_for_end(workspace: Workspace, credential: str) -> list[str]:
    """The expired leases of a role with accounts that exist after a short wait."""
    for left in reversed(range(int(PATIENCE.total_seconds() / LOOK))):
        unfinished = workspace.hub.grants().unfinished(credential)
        if not unfinished or not left:
            return unfinished
        workspace.sleep(LOOK)
    return []
