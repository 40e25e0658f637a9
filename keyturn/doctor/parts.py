"""Check the continuous parts."""

from collections.abc import Iterator
from typing import Final

from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade
from keyturn.serving.statuses import part_statuses

AREA: Final = "part"


def check_parts(patient: Patient) -> Iterator[CheckResult]:
    """Check each part by its lease."""
    for status in part_statuses(patient.workspace):
        if status.error:
            yield CheckResult(AREA, status.part, Grade.UNKNOWN, status.problem, "See whether the hub answers")
        elif status.problem:
            remedy = "Start `keyturn serve`, or see what it says there"
            yield CheckResult(AREA, status.part, Grade.FAILED, status.problem, remedy)
        else:
            yield CheckResult(AREA, status.part, Grade.WELL, f"runs on {status.lease.host}")
