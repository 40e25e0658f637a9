"""Check that revocation was tested lately on the drill secrets, and the result."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.text.spans import span
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.revocation.incidents.drills import declared_drills, last_drill, newest_drills
from keyturn.revocation.proof import IncidentVerdict
from keyturn.rotation.state.context import Workspace

AREA: Final = "drill"
SLACK: Final = timedelta(days=1)
"""The allowed delay of a drill, for a freeze, an absent worker, or a queued run."""


def check_drills(patient: Patient) -> Iterator[CheckResult]:
    """Check the last drill of each drill secret."""
    return drill_results(patient.workspace)


def drill_results(workspace: Workspace) -> Iterator[CheckResult]:
    """Check the last drills, for other callers."""
    declared = dict(declared_drills(workspace))
    names = newest_drills(workspace) if declared else {}
    for path, every in declared.items():
        try:
            last = last_drill(workspace, path, names)
        except KeyturnError as error:
            yield unseen(AREA, path, error)
            continue
        if last is None:
            remedy = "See that the keeper runs, or start the deployment `drill`"
            yield CheckResult(AREA, path, Grade.ADVICE, "revocation was never tried on it", remedy)
        elif last.refused is None or last.verdict in (IncidentVerdict.OPEN, IncidentVerdict.GIVEN_UP):
            remedy = f"Fix the cause, then `keyturn revoke --resume {last.incident}`"
            yield CheckResult(AREA, path, Grade.FAILED, last.words, remedy)
        elif (age := workspace.clock() - last.began) > every + SLACK:
            words = f"the last was {span(age)} ago, and one is due every {span(every)}"
            remedy = "See that the keeper runs, and that a worker serves the queue emergency"
            yield CheckResult(AREA, path, Grade.FAILED, words, remedy)
        else:
            yield CheckResult(AREA, path, Grade.WELL, f"{last.words}, {span(age)} ago")
