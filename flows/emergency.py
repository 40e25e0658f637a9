"""Revoke a leaked credential everywhere at once, replace it, and prove that it no longer works."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from prefect import runtime
from prefect.context import FlowRunContext

from flows.support.common import flow
from flows.support.incidents import OPENED, STEPS, emit, end_run, see_through
from flows.support.starting import FINISHER, start_at_next_mark
from keyturn.core.errors import Invalid
from keyturn.project.runs.form import form
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Mode
from keyturn.revocation.incidents.store import new_incident_id
from keyturn.revocation.selector import Selector
from tasks import revocation as steps
from tasks.step import ToldTask

PAUSES: Final = (2.0, 5.0, 15.0)
"""Seconds before each retry."""

ReasonField = Annotated[
    str, form("Reason", "What happened, in a few words. No secret value: it is kept in the report.")
]
PathField = Annotated[
    str, form("Secret", "Such as ml-training/database, or a pattern such as ml-training/*. Several: with spaces.")
]
OwnerField = Annotated[str, form("Owner", "Only secrets of this owner.")]
ClassificationField = Annotated[
    Literal["any", "public", "internal", "confidential", "restricted"],
    form("Classification", "Only secrets of this classification."),
]
TargetField = Annotated[str, form("Target", "Only credentials of this target, by its name in the catalogue.")]
StoreField = Annotated[str, form("Store", "Only secrets with a copy in this store, by its name in the catalogue.")]
LeasesField = Annotated[
    str, form("Lease prefix", "Leases of the hub that begin with this, such as database/creds/ml-reader.")
]
FingerprintField = Annotated[
    str,
    form(
        "Fingerprint",
        "8 to 64 hexadecimal digits, from `keyturn whois --stdin`. Never the leaked value: Prefect would keep it.",
        pattern="^([0-9a-fA-F]{8,64})?$",
    ),
]
IncidentField = Annotated[
    str,
    form(
        "Incident",
        "A name for it; empty: one is made. The same name and choice again go on with the same incident.",
        pattern="^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
    ),
]
ModeField = Annotated[
    Literal["replace", "revoke-only"],
    form(
        "Mode",
        "replace: the old credential ends, a new one takes its place. "
        "revoke-only: nothing new is made, and applications stay cut off until a person rotates the secret.",
    ),
]
ExpectField = Annotated[
    int,
    form(
        "How many end",
        "Needed for more than five secrets, for **, for leases and for revoke-only: the "
        "number from preview-revocation. Any other number changes nothing.",
        ge=0,
    ),
]


def run_name() -> str:
    parameters = runtime.flow_run.parameters
    return f"revoke-{parameters.get('incident') or parameters.get('path') or 'selected'}"


@flow("emergency-revoke", run_name, timeout=timedelta(minutes=30), opens=steps.revoking_workspace, revoking=True)
async def emergency_revoke(
    reason: ReasonField,
    path: PathField = "",
    owner: OwnerField = "",
    classification: ClassificationField = "any",
    target: TargetField = "",
    store: StoreField = "",
    lease_prefix: LeasesField = "",
    fingerprint: FingerprintField = "",
    incident: IncidentField = "",
    mode: ModeField = "replace",
    expect: ExpectField = 0,
) -> IncidentStatus:
    """End a leaked credential at once: all filled fields select together. Safe to run again.

    Every user of the credential loses access within seconds. In mode replace, users read the new one in the usual way.
    """
    selector = choice(path, owner, classification, target, store, lease_prefix, fingerprint)
    opened = await take_up(incident.strip(), selector, reason.strip(), Mode(mode), Consent(expect))
    return await go_on_with(
        opened,
        # The leaked credential ends, and access that was given with it.
        *(steps.cut, steps.end_access),
        # A new one takes its place, in the hub and in every cloud.
        *(steps.replace_credential, steps.push),
        # Applications hear of it, while the old value is removed wherever it is kept.
        *(steps.notify, steps.clear_hub, steps.clear_copies),
        # The target refuses the old credential, and no store serves it.
        *(steps.prove, steps.conclude),
    )


async def go_on_with(opened: Incident, *chain: ToldTask[..., Any]) -> IncidentStatus:
    return end_run(await work_on(opened, *chain))


async def work_on(opened: Incident, *chain: ToldTask[..., Any]) -> IncidentStatus:
    """Continue an incident; the next mark continues the rest."""
    # Concurrently, so that an unresponsive chat delays nothing.
    ends = await asyncio.gather(
        steps.tell_people.fn(opened.id), see_through(opened, PAUSES, chain=chain or STEPS), start_at_next_mark(FINISHER)
    )
    status: IncidentStatus = ends[1]
    return status


def choice(
    path: str, owner: str, classification: str, target: str, store: str, lease_prefix: str, fingerprint: str
) -> Selector:
    return Selector(
        tuple(re.split(r"[\s,]+", path.strip()) if path.strip() else ()),
        owner.strip(),
        "" if classification == "any" else classification,
        target.strip(),
        store.strip(),
        lease_prefix.strip(),
        fingerprint.strip(),
    )


async def take_up(incident: str, selector: Selector, reason: str, mode: Mode, consent: Consent) -> Incident:
    if not reason:
        hint = "Say in a few words what happened: it is kept in the report and the ledger"
        raise Invalid("revoke", selector.words or "nothing", "no reason is given", hint)
    triggered_at = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    opened = await steps.begin(incident or own_id(), selector, reason, mode, triggered_at, consent)
    emit(OPENED, opened, f"{opened.reason}: {opened.selector}")
    return opened


def own_id() -> str:
    """The incident id of this run; a retry has the same one, so it does not end the new credential."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        return new_incident_id(datetime.now(UTC))
    return f"INC-{run.created or datetime.now(UTC):%Y%m%d-%H%M%S}-{run.id.hex[-4:]}"
