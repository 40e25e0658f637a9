"""Check that each target accepts Keyturn's login, and its rights there."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.core.ports.strategies import Reachable, TellsGrants
from keyturn.core.rights.capabilities import capability
from keyturn.core.text import templates
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.doctor.stores import check_rights_elsewhere
from keyturn.rights.accounts import accounts_at
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record, promoted_last
from keyturn.wiring.registry import LOGIN, admin_credential, open_target

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
        return list(_without_admin(workspace, name) or _logged_in(workspace, name))
    except KeyturnError as error:
        return [unseen(AREA, name, error)]


def _without_admin(workspace: Workspace, name: str) -> list[CheckResult]:
    """Check that the hub has the admin's entry, with each field that a request of the target or a secret takes."""
    settings = workspace.catalogue.target(name)
    if (path := getattr(settings, "admin", None)) is None:
        return []
    requests = [workspace.secret(path).rotation.model_dump(mode="json") for path in _rotated_at(workspace, name)]
    names = {field for request in requests for text in templates.texts(request) for field in templates.names(text)}
    fields = {field.removeprefix("admin.") for field in names if field.startswith("admin.")}
    try:
        admin_credential(workspace.hub, name, path, getattr(settings, "admin_fields", LOGIN) | fields)
    except (NotFound, Invalid) as error:
        return [CheckResult(AREA, name, Grade.FAILED, error.problem, error.hint)]
    return []


def _logged_in(workspace: Workspace, name: str) -> Iterable[CheckResult]:
    """Check the admin's login; raises where it does not work."""
    target = open_target(name, workspace.catalogue.target(name), workspace.hub, workspace.catalogue.policy)
    try:
        if tells := capability(target, TellsGrants):
            accounts = accounts_at(workspace.catalogue, name, "").names
            return [_lacking(name, statement) for statement in tells.missing_grants(accounts)] or [
                CheckResult(AREA, name, Grade.WELL, "the admin's login works, and may do all that is needed")
            ]
        return [_tried(workspace, name, target)]
    finally:
        if close := getattr(target, "close", None):
            close()


def _lacking(name: str, statement: str) -> CheckResult:
    return CheckResult(AREA, name, Grade.FAILED, "the admin's login lacks a right", f"Run there: {statement}")


def _tried(workspace: Workspace, name: str, target: object) -> CheckResult:
    """Test the admin's login by reading one secret's state at the target, or only the way there."""
    if not (paths := _rotated_at(workspace, name)):
        return CheckResult(AREA, name, Grade.ADVICE, "no secret is rotated there", "Remove it from the catalogue")
    if not (reachable := capability(target, Reachable)):
        workspace.open_strategy(paths[0]).last_sequence(())
        return CheckResult(AREA, name, Grade.WELL, "the admin's login works; rights can't be listed")
    reachable.reach()
    if any(promoted_last(load_record(workspace, path)) for path in paths):
        return CheckResult(AREA, name, Grade.WELL, "it answers, and has rotated before; rights can't be listed")
    words = "it answers; whether it accepts the admin's credential, and with which rights, could not be looked at"
    return CheckResult(
        AREA, name, Grade.ADVICE, words, f"Only a rotation tries them: `keyturn rotate {paths[0]} --now`"
    )


def _rotated_at(workspace: Workspace, name: str) -> list[str]:
    secrets = workspace.catalogue.secrets.items()
    return [path for path, secret in secrets if getattr(secret.rotation, "target", None) == name]
