"""Ask when certificates should be renewed, and save the answer in the secret's metadata."""

from collections.abc import Iterable
from datetime import datetime

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import RENEW_AT, RENEWAL_ASKED_AT, SecretInfo
from keyturn.core.ports.strategies import AsksForRenewal
from keyturn.core.rights.capabilities import capability
from keyturn.core.schedule.renewal_info import ASKED_EVERY
from keyturn.rotation.state.context import Workspace, side_by_side

AT_ONCE = 8


def ask_for_renewals(workspace: Workspace, paths: Iterable[str]) -> dict[str, str]:
    """Ask about those not asked about recently; returns the errors by path.

    Answers are optional: without one, a certificate is renewed by its own expiry.
    """
    asking = [path for path in paths if workspace.secret(path).rotation.asks_for_renewal]
    faults = side_by_side(lambda path: fault(workspace, path), asking, AT_ONCE)
    return {path: text for path, text in zip(asking, faults, strict=True) if text}


def fault(workspace: Workspace, path: str) -> str:
    """Why asking failed; empty for success or nothing to ask."""
    try:
        ask_for_renewal(workspace, path)
    except KeyturnError as error:
        return str(error)
    return ""


def ask_for_renewal(workspace: Workspace, path: str) -> None:
    """Save the time of the request, which limits requests to the server, and then the suggestion for CURRENT.

    Raises all errors.
    """
    info, now = workspace.hub.describe(path), workspace.hub_now()
    if info is None or not info.served or not is_due(info, now):
        return
    strategy = workspace.open_strategy(path)
    current = workspace.hub.read(path)
    adviser = capability(strategy, AsksForRenewal)
    if current is None or adviser is None or current.version != info.version:
        return
    workspace.hub.patch_metadata(path, {RENEWAL_ASKED_AT: of_current(info, now)})
    if suggested := adviser.renewal(current.fields):
        workspace.hub.patch_metadata(path, {RENEW_AT: of_current(info, suggested)})


def is_due(info: SecretInfo, now: datetime) -> bool:
    """Whether the server was not asked about CURRENT recently."""
    asked_at = info.asked(RENEWAL_ASKED_AT)
    return asked_at is None or asked_at <= now - ASKED_EVERY


def of_current(info: SecretInfo, moment: datetime) -> str:
    """A time in the metadata that applies only to CURRENT."""
    return f"{info.promoted_by} {moment.isoformat()}"
