"""Show what a revocation would end, without changes."""

from datetime import timedelta

from prefect import runtime

from flows.emergency import (
    ClassificationField,
    FingerprintField,
    LeasesField,
    ModeField,
    OwnerField,
    PathField,
    StoreField,
    TargetField,
    choice,
)
from flows.support.common import flow, well
from flows.support.report import preview_rows, table
from keyturn.revocation.incidents.incident import Mode
from tasks import revocation as tasks


def run_name() -> str:
    return f"preview-{runtime.flow_run.parameters.get('path') or 'selected'}"


@flow("preview-revocation", run_name, timeout=timedelta(minutes=30), opens=tasks.revoking_workspace, revoking=True)
async def preview_revocation(
    path: PathField = "",
    owner: OwnerField = "",
    classification: ClassificationField = "any",
    target: TargetField = "",
    store: StoreField = "",
    lease_prefix: LeasesField = "",
    fingerprint: FingerprintField = "",
    mode: ModeField = "replace",
) -> int:
    """Show a table of what emergency-revoke would end for the same fields; the number of secrets and leases."""
    selector = choice(path, owner, classification, target, store, lease_prefix, fingerprint)
    radius = await tasks.preview(selector, Mode(mode))
    await table("emergency-preview", preview_rows(radius), f"what a revocation of {selector.words} would end")
    size = len(radius.secrets) + len(radius.leases)
    text = f"only shown: {len(radius.secrets)} secrets, {len(radius.leases)} leases; nothing was changed"
    if size > 1 or Mode(mode) is Mode.REVOKE_ONLY:
        text += f"; to end them, say how many: {size}"
    return well(text, size)
