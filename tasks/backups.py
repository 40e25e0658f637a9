"""Backing up the hub and testing a restore, as tasks."""

from keyturn.cli.environment import catalogue_directory
from keyturn.cli.recovery.restore import drill_and_record
from keyturn.core.ports.backups import Manifest
from keyturn.recovery.drilling import DrillReport
from keyturn.wiring.backups import declared_backups, make_recorded_base
from tasks.step import task, tell
from tasks.workspace import current_workspace


@task("back up", called=lambda _: "back up")
def back_up() -> Manifest:
    """Make a full backup in the declared place; an interrupted one does not count as a backup."""
    workspace = current_workspace()
    settings = declared_backups(workspace.catalogue.policy.backups)
    manifest = make_recorded_base(workspace, settings, catalogue_directory(None))
    tell(f"{manifest.name} is made, {manifest.counts['all']} entries")
    return manifest


@task("try restoring", 0, lambda _: "try restoring")
def try_restoring() -> DrillReport:
    """Restore the newest backup into the scratch hub, compare it, and record the result in the ledger."""
    report = drill_and_record(current_workspace(), None)
    tell(f"{report.chain}/{report.sequence} is {'proven' if report.proven else 'NOT proven'}")
    return report


@task("look for a restore drill")
def is_drill_declared() -> bool:
    """Whether the operator's file names a hub for restore tests."""
    settings = current_workspace().catalogue.policy.backups
    return bool(settings and settings.restore_drill)
