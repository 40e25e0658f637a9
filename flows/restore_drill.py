"""Restore the newest backup into the scratch hub, compare all of it by fingerprints, and take it away again."""

from datetime import timedelta
from typing import Final

from prefect.artifacts import acreate_markdown_artifact

from flows.doctor import cell
from flows.support.common import flow, well
from flows.support.report import slug
from keyturn.cli.recovery.restore import not_proven
from keyturn.recovery.drill_notes import note_of
from keyturn.recovery.drilling import DrillReport
from tasks import backups as tasks
from tasks.workspace import names

NAME: Final = "restore-drill"
SHOWN: Final = 100
"""Lines of each kind on the page."""


@flow(NAME, timeout=timedelta(hours=2))
async def restore_drill() -> str:
    """Tell how long restoring takes and how old the recovery point is; the hub at work is only read.

    What did not come back as it was fails the run: so people are told of it.
    """
    report = await tasks.try_restoring()
    words = note_of(report).words
    await acreate_markdown_artifact(to_markdown(report, words), key=slug(names().artifact(NAME)), description=words)
    if not report.proven:
        raise not_proven(report)
    return well(words, words)


def to_markdown(report: DrillReport, words: str) -> str:
    """What did not come back first, in names."""
    lines = [f"- not as it was: {cell(name)}" for name in report.differing[:SHOWN]]
    lines += [f"- {cell(fault)}" for fault in report.faults[:SHOWN]]
    lines += [f"- not in the backup: {cell(line)}" for line in report.missing[:SHOWN]]
    if report.live:
        lines.append(f"- the hub at work has {report.live.entries} entries that are newer")
    return "\n".join([f"**{words}**", "", f"{report.compare_seconds:.1f} s to compare.", "", *lines])
