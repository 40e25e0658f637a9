"""Check the continuous parts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade
from keyturn.serving.parts import GRANTING
from keyturn.serving.statuses import part_statuses

AREA: Final = "part"
GRANTERS: Final = {(AREA, GRANTING): "`keyturn serve`", ("prefect", "queue granter"): "a worker of the queue granter"}
"""The checks of what gives temporary access, of which a workspace needs one."""


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


def excuse_other_granter(results: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """Yield the results; where one granter runs, the other is not needed."""
    running = [GRANTERS[(r.area, r.name)] for r in results if (r.area, r.name) in GRANTERS and r.grade is Grade.WELL]
    for result in results:
        if running and result.hinders and (result.area, result.name) in GRANTERS:
            yield replace(result, grade=Grade.WELL, words=f"not needed: {running[0]} gives temporary access", remedy="")
        else:
            yield result
