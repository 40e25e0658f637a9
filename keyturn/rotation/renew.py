"""Renew credentials that would expire before they are replaced."""

from collections.abc import Iterable

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.strategies import Renews
from keyturn.core.rights.capabilities import capability
from keyturn.core.rotation_record import Stage
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import load_record

AT_ONCE = 8


def renew_credentials(workspace: Workspace, paths: Iterable[str]) -> dict[str, str]:
    """Renew CURRENT's credentials and those that wait for their end; returns the errors by path."""
    renewed = [path for path in paths if workspace.secret(path).rotation.renews]
    faults = side_by_side(lambda path: fault(workspace, path), renewed, AT_ONCE)
    return {path: fault for path, fault in zip(renewed, faults, strict=True) if fault}


def fault(workspace: Workspace, path: str) -> str:
    """Why one secret's credentials could not be renewed; empty when they were."""
    try:
        with record_action(workspace, "renew", path, place=workspace.target(path)):
            renew(workspace, path)
    except KeyturnError as error:
        return str(error)
    return ""


def renew(workspace: Workspace, path: str) -> None:
    """Renew one secret's credentials, except where a revocation holds it. Raises all errors."""
    record = load_record(workspace, path)
    if record.frozen:
        return
    strategy = workspace.open_strategy(path)
    if (renewing := capability(strategy, Renews)) is None:
        return
    if current := workspace.hub.read(path):
        renewing.renew(strategy.credential_id(current.fields))
    retiring = record.retiring
    if retiring and retiring.stage is not Stage.RETIRING and not retiring.urgent:
        renewing.renew(retiring.ends)
