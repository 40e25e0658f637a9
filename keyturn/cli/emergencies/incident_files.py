"""The report of an incident as files that only their owner can read."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyturn.revocation.incidents.incident import IncidentStatus
    from keyturn.rotation.state.context import Workspace


def write_report_files(workspace: "Workspace", standing: "IncidentStatus", directory: Path | None) -> list[Path]:
    """Write the current report in every form and replace earlier files. Raises Unavailable, OSError."""
    from keyturn.revocation.report import write_report
    from keyturn.revocation.report.facts import ledger_facts, readers_of
    from keyturn.settings.directories import PRIVATE, make_private, state_directory

    place = directory or state_directory() / "incidents"
    if directory is None:
        make_private(place).chmod(PRIVATE)
    facts = ledger_facts(workspace, standing)
    return write_report(standing, readers_of(workspace, standing), place, facts, workspace.clock())
