"""Making a compliance report, as a task."""

import os
from dataclasses import dataclass
from typing import Final

from keyturn.evidence.gather import Question
from keyturn.evidence.make_report import make_report, write_entry_proof
from keyturn.evidence.periods import last_month, parse_period
from tasks.step import task, tell
from tasks.workspace import current_workspace

FORMATS: Final = ("html", "json")


@dataclass(frozen=True)
class ControlResult:
    control: str
    title: str
    verdict: str
    decided_by: str


@dataclass(frozen=True)
class Reported:
    """A report: its files on this worker, its digest, and its entry in the ledger."""

    framework: str
    files: tuple[str, ...]
    digest: str
    entry: int
    controls: tuple[ControlResult, ...]


@task("compliance report", 0, lambda parameters: f"compliance report {parameters['framework']}")
def report_compliance(framework: str, since: str, until: str, owner: str) -> Reported:
    """Make the report in this worker's state directory; without dates, of last month."""
    workspace = current_workspace()
    period = parse_period(since, until) if since or until else last_month(workspace.clock())
    made = make_report(workspace, framework, Question(period, owner), FORMATS, os.environ)
    write_entry_proof(workspace, made, os.environ)
    checks = {check["name"]: check["verdict"] for check in made.document["checks"]}
    controls = tuple(
        ControlResult(
            control["id"],
            control["title"],
            control["verdict"],
            ", ".join(name for name in control["checks"] if checks[name] == control["verdict"]),
        )
        for control in made.document["controls"]
    )
    tell(f"the report of {framework} is made, {len(controls)} controls")
    return Reported(framework, tuple(map(str, made.files)), made.document["digest"], made.sequence, controls)
