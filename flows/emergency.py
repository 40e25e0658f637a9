"""A credential has leaked: end it everywhere at once, replace it, and prove that it is over."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from prefect import runtime
from prefect.context import FlowRunContext

from flows.common import runbook, well
from flows.form import form
from flows.incidents import OPENED, emit, end_run, see_through
from flows.report import preview_rows, table
from flows.starting import FINISHER, start_at_next_mark
from keyturn.core.errors import Invalid
from keyturn.revocation.consent import Consent
from keyturn.revocation.incident import Incident, IncidentStatus, Mode
from keyturn.revocation.incident_store import new_incident_id
from keyturn.revocation.selector import Selector
from tasks import revocation as tasks

PAUSES: Final = (2.0, 5.0, 15.0)
"""Seconds before what failed is tried again; after that the next run of finish-incidents does."""


def run_name() -> str:
    """The run's name: the incident or the secret that it was asked for."""
    parameters = runtime.flow_run.parameters
    show = "preview" if parameters.get("only_show_what_would_happen") else "revoke"
    return f"{show}-{parameters.get('incident') or parameters.get('path') or 'selected'}"


@runbook("emergency-revoke", run_name, timeout=timedelta(minutes=30), opens=tasks.revoking_workspace)
async def emergency_revoke(
    path: Annotated[
        str, form("Secret", "Such as ml-training/database, or a pattern such as ml-training/*. Several: with spaces.")
    ] = "",
    owner: Annotated[str, form("Owner", "Only secrets of this owner.")] = "",
    classification: Annotated[
        Literal["any", "public", "internal", "confidential", "restricted"],
        form("Classification", "Only secrets of this classification."),
    ] = "any",
    target: Annotated[str, form("Target", "Only credentials of this target, by its name in the catalogue.")] = "",
    store: Annotated[str, form("Store", "Only secrets with a copy in this store, by its name in the catalogue.")] = "",
    lease_prefix: Annotated[
        str, form("Lease prefix", "Leases of the hub that begin with this, such as database/creds/ml-reader.")
    ] = "",
    fingerprint: Annotated[
        str,
        form(
            "Fingerprint",
            "8 to 64 hexadecimal digits, as `keyturn status` has them. Never the leaked value: Prefect would keep it.",
            pattern="^([0-9a-fA-F]{8,64})?$",
        ),
    ] = "",
    reason: Annotated[
        str, form("Reason (required)", "What has happened, in a few words. No secret value: it stands in the report.")
    ] = "",
    incident: Annotated[
        str,
        form(
            "Incident",
            "Its id; empty: one is made. An open incident's id alone goes on with that one.",
            pattern="^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
        ),
    ] = "",
    mode: Annotated[
        Literal["replace", "revoke-only"],
        form(
            "Mode",
            "replace: the old credential ends, a new one takes its place. "
            "revoke-only: nothing new is made, and applications stay cut off until somebody rotates the secret.",
        ),
    ] = "replace",
    only_show_what_would_happen: Annotated[
        bool, form("Only show what would happen", "Nothing is ended and nothing is changed.")
    ] = False,
    expect: Annotated[
        int,
        form(
            "How many end",
            "Needed for more than five secrets, for **, for leases and for revoke-only: the number that `only show "
            "what would happen` tells. Any other number changes nothing.",
            ge=0,
        ),
    ] = 0,
) -> IncidentStatus | None:
    """End what has leaked at once: all the fields that you fill in choose together. Safe to run again.

    Whoever uses the credential is cut off within seconds; in mode replace they read the new one as they always do.
    """
    selector = Selector(
        tuple(re.split(r"[\s,]+", path.strip()) if path.strip() else ()),
        owner.strip(),
        "" if classification == "any" else classification,
        target.strip(),
        store.strip(),
        lease_prefix.strip(),
        fingerprint.strip(),
    )
    if only_show_what_would_happen:
        return await show_preview(selector, Mode(mode))
    opened = await take_up(incident.strip(), selector, reason.strip(), Mode(mode), Consent(expect))
    # Beside the rest: a chat that does not answer holds nothing up. What this run leaves the next mark goes on with.
    _, status, _ = await asyncio.gather(
        tasks.tell_people.fn(opened.id), see_through(opened, PAUSES), start_at_next_mark(FINISHER)
    )
    return end_run(status)


async def show_preview(selector: Selector, mode: Mode) -> IncidentStatus | None:
    """Leave a table of what would end, and change nothing."""
    radius = await tasks.preview(selector, mode)
    await table("emergency-preview", preview_rows(radius), f"what a revocation of {selector.words} would end")
    size = len(radius.secrets) + len(radius.leases)
    text = f"only shown: {len(radius.secrets)} secrets, {len(radius.leases)} leases; nothing was changed"
    if size > 1 or mode is Mode.REVOKE_ONLY:
        text += f"; to end them, say how many: {size}"
    return well(text, None)


async def take_up(incident: str, selector: Selector, reason: str, mode: Mode, consent: Consent) -> Incident:
    """Open the incident, which ends every chosen credential; or find the one whose id alone was given."""
    if selector == Selector() and incident:
        return await tasks.load_incident(incident)
    if not reason:
        hint = "Say in a few words what has happened: it stands in the report and in the ledger"
        raise Invalid("revoke", selector.words or "nothing", "no reason is given", hint)
    triggered_at = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    opened = await tasks.begin(incident or own_id(), selector, reason, mode, triggered_at, consent)
    emit(OPENED, opened, f"{opened.reason}: {opened.selector}")
    return opened


def own_id() -> str:
    """The incident of this run, the same when the run is retried: what it has put in force is not ended again."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        return new_incident_id(datetime.now(UTC))
    return f"INC-{run.created or datetime.now(UTC):%Y%m%d-%H%M%S}-{run.id.hex[-4:]}"
