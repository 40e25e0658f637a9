"""Check that the admins can create and end accounts for the section `grants:`."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.wiring.registry import open_maker

AREA: Final = "grant"


def check_grant_admins(patient: Patient) -> Iterator[CheckResult]:
    """Log in as each admin, and ask the target for missing rights; creates nothing."""
    for results in side_by_side(partial(_of_entry, patient.workspace), sorted(patient.workspace.catalogue.grants)):
        yield from results


def _of_entry(workspace: Workspace, name: str) -> list[CheckResult]:
    try:
        return list(_lacking(workspace, name))
    except KeyturnError as error:
        return [unseen(AREA, name, error)]


def _lacking(workspace: Workspace, name: str) -> Iterable[CheckResult]:
    maker = open_maker(workspace.catalogue, name, workspace.hub)
    try:
        statements = maker.missing_rights()
    finally:
        maker.close()
    for statement in statements:
        yield CheckResult(AREA, name, Grade.FAILED, "the admin's login lacks a right", f"Run there: {statement}")
    if not statements:
        yield CheckResult(AREA, name, Grade.WELL, "the admin's login works, and may make and end its accounts")
