"""The parts of an emergency revocation as tasks: each finds the incident again by its id."""

import asyncio
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar

from prefect.logging import get_logger

from blocks.channel import BlockChannel
from blocks.workspace import WorkspaceSettings
from keyturn.core.ports.conductor import Conductor
from keyturn.core.ports.conductor import Step as Wanted
from keyturn.core.ports.ledger import Entry
from keyturn.revocation import protocol, run
from keyturn.revocation.conclude import conclude_incident
from keyturn.revocation.given_access import end_given_access
from keyturn.revocation.incidents import drills, outbox, recheck, recorded, resume
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.announcements import has_waiting, summarise_incident
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Mode, SecretProgress, Step
from keyturn.revocation.preview import Preview
from keyturn.revocation.preview import preview_revocation as previewed
from keyturn.revocation.report import to_markdown
from keyturn.revocation.report.facts import ledger_facts, readers_of, sign_ledger
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.revocation.steps import advance as revoke_step
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.ledger import spooled_ledger
from tasks.conduct import conduct, insist_on_all
from tasks.step import ToldTask, look, task, tell
from tasks.workspace import current_workspace, names, opened, own_settings

T = TypeVar("T")

NO_RETRIES: Final = 0
"""Retries of a step: the flow goes on with the other steps and secrets, and comes back to what failed."""


@functools.cache
def spooled_workspace(settings: WorkspaceSettings) -> Workspace:
    """What these settings lead to for a revocation, which a ledger that can't be written does not hold up.

    People are told through the channel that the environment names, or through the one that bootstrap was given.
    """
    workspace = opened(settings, lenient=True)
    channel = workspace.channel or BlockChannel(names().name)
    return replace(workspace, ledger=spooled_ledger(os.environ, workspace.hub, log_lost), channel=channel)


def log_lost(entries: Sequence[Entry], why: str) -> None:
    """Say in the worker's log what neither the ledger nor its spool took."""
    actions = ", ".join(dict.fromkeys(entry.action for entry in entries))
    get_logger("keyturn").error("not recorded: %s: %s", actions or "torn lines", why)


def revoking_workspace() -> Workspace:
    """The workspace of this process, with the spool."""
    return spooled_workspace(own_settings())


def lenient_workspace() -> Workspace:
    """The workspace of this process, with what loads of its catalogue."""
    return opened(own_settings(), lenient=True)


@task("preview", called=lambda parameters: f"preview {parameters['selector'].words}")
def preview(selector: Selector, mode: Mode) -> Preview:
    """What a revocation would end and change; nothing is done."""
    radius = previewed(revoking_workspace(), select_secrets(revoking_workspace(), selector), mode)
    tell(f"{len(radius.secrets)} secrets and {len(radius.leases)} leases would end; nothing was changed")
    return radius


@task("begin")
def begin(
    incident: str, selector: Selector, reason: str, mode: Mode, triggered_at: datetime, consent: Consent
) -> Incident:
    """Write the incident down, and end every chosen credential.

    Raises Denied where the login may not do all of it, and Invalid where its size had to be said and was not.
    """
    selection = resume.select_again(revoking_workspace(), incident, selector)
    opened = run.begin(
        revoking_workspace(),
        selection,
        incident=incident,
        reason=reason,
        mode=mode,
        selector=selector.words,
        triggered_at=triggered_at,
        consent=consent,
    )
    tell(f"{incident} is open: {selector.words}")
    return opened


@task("find")
def load_incident(incident: str) -> Incident:
    """An incident as the hub has it. Raises NotFound."""
    opened = incident_store.load_incident(revoking_workspace(), incident)
    tell(f"{incident} is found: {opened.selector}")
    return opened


@task("record")
def record_what_waits() -> str:
    """Append to the ledger what revocations could not write there; why something waits still."""
    return recorded.record_what_waits(revoking_workspace())


@task("find open")
def list_unfinished() -> list[Incident]:
    """Every incident that is not closed, or of which people have not been told everything."""
    return outbox.list_unfinished(revoking_workspace())


@task("look")
def list_awaiting() -> list[str]:
    """The incidents that finish-incidents has something to do for. Any login that may read them can tell."""
    workspace = lenient_workspace()
    now = workspace.clock()
    return [
        incident.id
        for incident in incident_store.list_incidents(workspace)
        if incident.unread or incident.closed_at is None or has_waiting(incident, now) or recheck.is_due(incident, now)
    ]


@task("look")
def load_status(incident: str) -> IncidentStatus:
    """How an incident stands."""
    return incident_store.load_status(revoking_workspace(), incident)


@task("look")
def is_turn(status: IncidentStatus) -> bool:
    """Whether to try again what is left of it."""
    return resume.is_turn(status, revoking_workspace().clock())


@task("look")
def record_try(before: IncidentStatus, after: IncidentStatus) -> bool:
    """Keep that what is left was tried; whether it came further."""
    resume.record_try(revoking_workspace(), before, after)
    return not resume.same_status(before, after)


@task("find to look at")
def list_due() -> list[Incident]:
    """Every closed incident that is to be looked at once more now."""
    return recheck.list_due(revoking_workspace())


@task("look again")
def recheck_incident(incident: str) -> IncidentStatus:
    """Prove a closed incident once more; what is found opens it again."""
    status = recheck.recheck_incident(revoking_workspace(), incident)
    tell(summarise_incident(status))
    return status


def advance(path: str, incident: Incident, steps: tuple[Step, ...]) -> SecretProgress:
    """Take these steps of one secret. Raises what is left of them, so that it shows as failed."""
    progress = revoke_step(revoking_workspace(), path, incident, steps)
    tell(f"{path}: {', '.join(steps)} done")
    return progress


@task("cut", NO_RETRIES)
def cut(path: str, incident: Incident) -> SecretProgress:
    """End the leaked credential at its target, and its sessions."""
    return advance(path, incident, (Step.CUT,))


@task("replace", NO_RETRIES)
def replace_credential(path: str, incident: Incident) -> SecretProgress:
    """Put a new credential in force in its place."""
    return advance(path, incident, (Step.REPLACE,))


@task("push", NO_RETRIES)
def push(path: str, incident: Incident) -> SecretProgress:
    """Bring every copy, in every cloud, to the new value."""
    return advance(path, incident, (Step.PUSH,))


@task("notify", NO_RETRIES)
def notify(path: str, incident: Incident) -> SecretProgress:
    """Notify every application that uses it."""
    return advance(path, incident, (Step.NOTIFY,))


@task("hub", NO_RETRIES)
def clear_hub(path: str, incident: Incident) -> SecretProgress:
    """Remove the old value from every version in the hub."""
    return advance(path, incident, (Step.HUB,))


@task("forget", NO_RETRIES)
def clear_copies(path: str, incident: Incident) -> SecretProgress:
    """Remove the old value from every store, older versions too."""
    return advance(path, incident, (Step.FORGET,))


@task("prove", NO_RETRIES)
def prove(path: str, incident: Incident) -> SecretProgress:
    """Prove that the target refuses the old credential and no store serves it."""
    return advance(path, incident, (Step.PROVE,))


@task("revoke", retries=NO_RETRIES)
def advance_all(path: str, incident: Incident, steps: tuple[Step, ...]) -> SecretProgress:
    """Several steps of one secret, for incidents with many. Raises what is left of them."""
    return advance(path, incident, steps)


@task("end access", NO_RETRIES, lambda parameters: f"end access {parameters['incident'].id}")
def end_access(incident: Incident) -> None:
    """What was given for a while of all that the incident is about."""
    end_given_access(revoking_workspace(), incident)
    tell("what was given for a while is ended, or the incident says what is left of it")


@task("conclude")
def conclude(incident: str) -> IncidentStatus:
    """Leases, copies that nothing declares now, and the proof of all; closes the incident where nothing is left."""
    status = conclude_incident(revoking_workspace(), incident)
    tell(summarise_incident(status))
    return status


OF_STEP: Final[Mapping[Step, ToldTask[..., Any]]] = {
    Step.CUT: cut,
    Step.REPLACE: replace_credential,
    Step.PUSH: push,
    Step.NOTIFY: notify,
    Step.HUB: clear_hub,
    Step.FORGET: clear_copies,
    Step.PROVE: prove,
}
"""The task of each step of one secret."""


async def take_as_task(wanted: Wanted) -> Any:
    """Carry out a step of :mod:`keyturn.revocation.protocol`: as a task where it changes something."""
    match wanted.verb, wanted.arguments:
        case protocol.ADVANCE, (path, incident, (step,)):
            return await OF_STEP[step](path, incident)
        case protocol.ADVANCE, (path, incident, steps):
            return await advance_all(path, incident, steps)
        case protocol.END_ACCESS, (incident,):
            return await end_access(incident)
        case protocol.CONCLUDE, (incident,):
            return await conclude(incident)
        case protocol.LOOK, (incident,):
            return await look(load_status, incident)
        case protocol.PAUSE, (seconds,):
            return await asyncio.sleep(seconds)
    raise AssertionError(f"no task for the step {wanted.verb.name}")


async def run_steps(incident: Conductor[T], *chain: ToldTask[..., Any]) -> T:
    """Run an incident with these tasks: the protocol says which of them comes next, for which secret.

    Raises what the protocol ends with, and Missing for a step that ``chain`` lacks.
    """
    insist_on_all((*OF_STEP.values(), end_access, conclude), chain)
    return await conduct(incident, take_as_task)


@task("checkpoint")
def sign_checkpoint(incident: str) -> bool:
    """Sign how the ledger stands, so that everything of the incident so far is covered; whether this login may."""
    signed = sign_ledger(revoking_workspace())
    tell(f"everything of {incident} so far is {'covered by a checkpoint' if signed else 'for the notary to sign'}")
    return signed


@task("look")
def is_vouched_for(incident: str) -> bool:
    """Whether a checkpoint covers everything of the incident so far."""
    return bool(
        ledger_facts(revoking_workspace(), incident_store.load_status(revoking_workspace(), incident)).checkpoint
    )


@task("report")
def make_report(incident: str) -> str:
    """All that is known of an incident, in names alone, as Markdown."""
    status = incident_store.load_status(revoking_workspace(), incident)
    text = to_markdown(status, readers_of(revoking_workspace(), status), ledger_facts(revoking_workspace(), status))
    tell(f"the report of {incident} is made")
    return text


@task("remind")
def claim_reminder(incident: str) -> bool:
    """Whether people are to be reminded of this open incident now: once an hour, whichever run asks."""
    return resume.claim_reminder(revoking_workspace(), incident)


@task("tell", retries=NO_RETRIES)
def tell_people(incident: str) -> str:
    """Send what people are to hear of an incident; why something waits still, empty where nothing does."""
    return outbox.tell_people(revoking_workspace(), incident)


@task("look for drills")
def list_due_drills() -> list[str]:
    """The secrets whose drill is due. Any login that may read incidents can tell."""
    return drills.due_drills(current_workspace())
