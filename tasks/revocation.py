"""The parts of an emergency revocation as tasks: each finds the incident by its id."""

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
from keyturn.revocation.objectives import measured, rehearsing
from keyturn.revocation.preview import Preview, with_store_warnings
from keyturn.revocation.preview import preview_revocation as previewed
from keyturn.revocation.report import to_markdown
from keyturn.revocation.report.facts import ledger_facts, readers_of, sign_ledger
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.revocation.steps import advance as revoke_step
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.ledger import spooled_ledger
from tasks.runner import conduct, insist_on_all
from tasks.step import ToldTask, look, task, tell
from tasks.workspace import current_workspace, names, opened, own_settings

T = TypeVar("T")

NO_RETRIES: Final = 0


@functools.cache
def spooled_workspace(settings: WorkspaceSettings) -> Workspace:
    """The workspace for a revocation, which an unavailable ledger does not block."""
    workspace = opened(settings, lenient=True)
    channel = workspace.channel or BlockChannel(names().name)
    return replace(workspace, ledger=spooled_ledger(os.environ, workspace.hub, log_lost), channel=channel)


def log_lost(entries: Sequence[Entry], why: str) -> None:
    actions = ", ".join(dict.fromkeys(entry.action for entry in entries))
    get_logger("keyturn").error("not recorded: %s: %s", actions or "torn lines", why)


def revoking_workspace() -> Workspace:
    return spooled_workspace(own_settings())


def lenient_workspace() -> Workspace:
    """This process's workspace, with the valid part of its catalogue."""
    return opened(own_settings(), lenient=True)


@task("preview", called=lambda parameters: f"preview {parameters['selector'].words}")
def preview(selector: Selector, mode: Mode) -> Preview:
    """Show what a revocation would end, without changes."""
    workspace = revoking_workspace()
    radius = with_store_warnings(workspace, previewed(workspace, select_secrets(workspace, selector), mode))
    tell(f"{len(radius.secrets)} secrets and {len(radius.leases)} leases would end; nothing was changed")
    return radius


@task("begin")
def begin(
    incident: str, selector: Selector, reason: str, mode: Mode, triggered_at: datetime, consent: Consent
) -> Incident:
    """Record the incident, and end every selected credential.

    Raises Denied if the login lacks a right, and Invalid without the required number.
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
    """Load an incident from the hub. Raises NotFound."""
    opened = incident_store.load_incident(revoking_workspace(), incident)
    tell(f"{incident} is found: {opened.selector}")
    return opened


@task("record")
def record_what_waits() -> str:
    """Append pending entries of revocations to the ledger; the reason why some still wait."""
    return recorded.record_what_waits(revoking_workspace())


@task("find open")
def list_unfinished() -> list[Incident]:
    """Every incident that is open or has pending announcements."""
    return outbox.list_unfinished(revoking_workspace())


@task("look")
def list_awaiting() -> list[str]:
    """The incidents that need finish-incidents, for any login that may read them."""
    workspace = lenient_workspace()
    now = workspace.clock()
    return [
        incident.id
        for incident in incident_store.list_incidents(workspace)
        if incident.unread or incident.closed_at is None or has_waiting(incident, now) or recheck.is_due(incident, now)
    ]


@task("look")
def load_status(incident: str) -> IncidentStatus:
    """An incident's status."""
    return incident_store.load_status(revoking_workspace(), incident)


@task("look")
def is_turn(status: IncidentStatus) -> bool:
    """Whether to retry the incident's remaining steps now."""
    return resume.is_turn(status, revoking_workspace().clock())


@task("look")
def record_try(before: IncidentStatus, after: IncidentStatus) -> bool:
    """Record the retry; whether it made progress."""
    resume.record_try(revoking_workspace(), before, after)
    return not resume.same_status(before, after)


@task("find to look at")
def list_due() -> list[Incident]:
    """Every closed incident that is due for another check."""
    return recheck.list_due(revoking_workspace())


@task("look again")
def recheck_incident(incident: str) -> IncidentStatus:
    """Check a closed incident again; a finding reopens it."""
    status = recheck.recheck_incident(revoking_workspace(), incident)
    tell(summarise_incident(status))
    return status


def advance(path: str, incident: Incident, steps: tuple[Step, ...]) -> SecretProgress:
    """Do these steps of one secret. Raises an error for the remaining ones."""
    progress = revoke_step(revoking_workspace(), path, incident, steps)
    tell(f"{path}: {', '.join(steps)} done")
    return progress


@task("cut", NO_RETRIES)
def cut(path: str, incident: Incident) -> SecretProgress:
    """End the leaked credential at its target, with its sessions."""
    return advance(path, incident, (Step.CUT,))


@task("replace", NO_RETRIES)
def replace_credential(path: str, incident: Incident) -> SecretProgress:
    """Put a new credential in force."""
    return advance(path, incident, (Step.REPLACE,))


@task("push", NO_RETRIES)
def push(path: str, incident: Incident) -> SecretProgress:
    """Write the new value to every copy in every cloud."""
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
    """Remove the old value from every store, including older versions."""
    return advance(path, incident, (Step.FORGET,))


@task("prove", NO_RETRIES)
def prove(path: str, incident: Incident) -> SecretProgress:
    """Prove that the target refuses the old credential and no store serves it."""
    return advance(path, incident, (Step.PROVE,))


@task("revoke", retries=NO_RETRIES)
def advance_all(path: str, incident: Incident, steps: tuple[Step, ...]) -> SecretProgress:
    """Do several steps of one secret, for large incidents. Raises an error for the remaining ones."""
    return advance(path, incident, steps)


@task("end access", NO_RETRIES, lambda parameters: f"end access {parameters['incident'].id}")
def end_access(incident: Incident) -> None:
    """End the temporary access to everything in the incident."""
    end_given_access(revoking_workspace(), incident)
    tell("temporary access has ended, or the incident lists what is left of it")


@task("conclude")
def conclude(incident: str) -> IncidentStatus:
    """End leases and undeclared copies, prove the result, and close the incident if nothing remains."""
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


async def take_as_task(wanted: Wanted) -> Any:
    """Carry out a step of :mod:`keyturn.revocation.protocol`, as a task if it changes something."""
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
    """Run an incident with these tasks.

    Raises the protocol's final error, and Missing for a step that ``chain`` lacks.
    """
    insist_on_all((*OF_STEP.values(), end_access, conclude), chain)
    return await conduct(incident, take_as_task)


@task("checkpoint")
def sign_checkpoint(incident: str) -> bool:
    """Sign a checkpoint over all entries of the incident; False if this login may not."""
    signed = sign_ledger(revoking_workspace())
    tell(f"everything of {incident} so far is {'covered by a checkpoint' if signed else 'for the notary to sign'}")
    return signed


@task("look")
def is_vouched_for(incident: str) -> bool:
    """Whether a checkpoint covers all entries of the incident."""
    return bool(
        ledger_facts(revoking_workspace(), incident_store.load_status(revoking_workspace(), incident)).checkpoint
    )


@task("report")
def make_report(incident: str) -> str:
    """The incident's report as Markdown, with names only."""
    status = incident_store.load_status(revoking_workspace(), incident)
    text = to_markdown(status, readers_of(revoking_workspace(), status), ledger_facts(revoking_workspace(), status))
    tell(f"the report of {incident} is made")
    return text


@task("remind")
def claim_reminder(incident: str) -> bool:
    """Whether to send the hourly reminder of this open incident now, for one of all runs."""
    return resume.claim_reminder(revoking_workspace(), incident)


@task("tell", retries=NO_RETRIES)
def tell_people(incident: str) -> str:
    """Send the pending announcements; the reason why some still wait, or empty."""
    return outbox.tell_people(revoking_workspace(), incident)


@task("look for rehearsals")
def list_due_rehearsals() -> list[str]:
    """The secrets with an objective whose rehearsal is due."""
    return rehearsing.due_rehearsals(current_workspace(), measured.EVERY)


@task("look at objectives")
def list_objectives() -> list[measured.ObjectiveStatus]:
    """The status of every secret with an objective."""
    workspace = current_workspace()
    paths = [path for path, secret in sorted(workspace.catalogue.secrets.items()) if secret.dead_within]
    return measured.objective_statuses(workspace, paths)


@task("rehearse", NO_RETRIES)
def rehearse(path: str) -> str:
    """Revoke a throw-away credential of the secret's kind, and measure until its target refuses it."""
    words = rehearsing.rehearse(current_workspace(), path).words
    tell(f"{path}: {words}")
    return words


@task("look for drills")
def list_due_drills() -> list[str]:
    """The secrets whose drill is due, for any login that may read incidents."""
    return drills.due_drills(current_workspace())
