"""Make a compliance report: a framework's controls, the findings, and rows with proofs."""

from collections import Counter
from datetime import timedelta
from typing import Literal

from flows.support.common import flow, well
from flows.support.report import Row, table
from tasks import evidence as tasks

FrameworkName = Literal["fedramp-ksi", "soc2", "hipaa", "gdpr", "pci", "dora", "nist"]


@flow("compliance-report", timeout=timedelta(hours=1))
async def compliance_report(
    framework: FrameworkName = "fedramp-ksi", since: str = "", until: str = "", owner: str = ""
) -> tasks.Reported:
    """Make the report of a period for all secrets or one owner; without dates, of last month.

    Its files are stored on the worker. A failed control does not fail the run, because the report states it.
    """
    reported = await tasks.report_compliance(framework, since, until, owner)
    await table(f"compliance-report-{framework}", [row(control) for control in reported.controls], described(reported))
    counts = Counter(control.verdict for control in reported.controls)
    words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return well(f"{framework}: {words}", reported)


def row(control: tasks.ControlResult) -> Row:
    return {"control": control.control, "title": control.title, "verdict": control.verdict, "by": control.decided_by}


def described(reported: tasks.Reported) -> str:
    files = "\n".join(f"- `{file}`" for file in reported.files)
    return f"{files}\n\nSHA-256 `{reported.digest}`, in the ledger's entry {reported.entry}"
