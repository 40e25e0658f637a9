"""Check that each target accepts Keyturn's login, and its rights there."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.strategies import TellsGrants
from keyturn.core.rights.capabilities import capability
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.doctor.stores import check_rights_elsewhere
from keyturn.rights.accounts import accounts_at
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.wiring.registry import open_target

AREA: Final = "target"


def check_targets(patient: Patient) -> Iterator[CheckResult]:
    """Check missing rights where targets report them, else the admin's login."""
    targets = patient.workspace.catalogue.targets
    yield from check_rights_elsewhere(patient, AREA, targets)
    others = [name for name in targets if not targets[name].ASKS]
    for results in side_by_side(partial(_of_target, patient.workspace), others):
        yield from results


def _of_target(workspace: Workspace, name: str) -> list[CheckResult]:
    try:
        return list(_logged_in(workspace, name))
    except KeyturnError as error:
        return [unseen(AREA, name, error)]


def _logged_in(workspace: Workspace, name: str) -> Iterable[CheckResult]:
    """Check the admin's login; raises where it does not work."""
    target = open_target(name, workspace.catalogue.target(name), workspace.hub, workspace.catalogue.policy)
    try:
        if tells := capability(target, TellsGrants):
            accounts = accounts_at(workspace.catalogue, name, "").names
            return [_lacking(name, statement) for statement in tells.missing_grants(accounts)] or [
                CheckResult(AREA, name, Grade.WELL, "the admin's login works, and may do all that is needed")
            ]
        return [_tried(workspace, name)]
    finally:
        if close := getattr(target, "close", None):
            close()


def _lacking(name: str, statement: str) -> CheckResult:
    return CheckResult(AREA, name, Grade.FAILED, "the admin's login lacks a right", f"Run there: {statement}")


def _tried(workspace: Workspace, name: str) -> CheckResult:
    """Test the admin's login by reading one secret's state at the target."""
    secrets = workspace.catalogue.secrets.items()
    path = next((path for path, secret in secrets if getattr(secret.rotation, "target", None) == name), None)
    if path is None:
        return CheckResult(AREA, name, Grade.ADVICE, "no secret is rotated there", "Remove it from the catalogue")
    workspace.open_strategy(path).last_sequence(())
    return CheckResult(AREA, name, Grade.WELL, "it answers; rights can't be listed")
