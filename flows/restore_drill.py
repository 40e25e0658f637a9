"""Restore the newest backup into the scratch hub, compare everything by fingerprint, and remove it."""

from datetime import timedelta
from typing import Final

from prefect.artifacts import acreate_markdown_artifact

from flows.doctor import cell
from flows.support.common import flow, well
from keyturn.cli.recovery.restore import not_proven
from keyturn.core.workspaces import slug
from keyturn.recovery.drill_notes import note_of
from keyturn.recovery.drilling import DrillReport
from tasks import backups as tasks
from tasks.workspace import names

NAME: Final = "restore-drill"
SHOWN: Final = 100
"""The limit of lines of each kind on the page."""


@flow(NAME, timeout=timedelta(hours=2))
async def restore_drill() -> str:
    """Measure how long a restore takes and how old the recovery point is; the production hub is only read.

    A difference fails the run so that people are notified.
    """
    report = await tasks.try_restoring()
    words = note_of(report).words
    await acreate_markdown_artifact(to_markdown(report, words), key=slug(names().artifact(NAME)), description=words)
    if not report.proven:
        raise not_proven(report)
    return well(words, words)


def to_markdown(report: DrillReport, words: str) -> str:
    lines = [f"- not as it was: {cell(name)}" for name in report.differing[:SHOWN]]
    lines += [f"- {cell(fault)}" for fault in report.faults[:SHOWN]]
    lines += [f"- not in the backup: {cell(line)}" for line in report.missing[:SHOWN]]
    if report.live:
        lines.append(f"- the hub at work has {report.live.entries} entries that are newer")
    return "\n".join([f"**{words}**", "", f"{report.compare_seconds:.1f} s to compare.", "", *lines])
