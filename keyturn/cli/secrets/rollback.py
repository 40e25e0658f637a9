"""``keyturn rollback``: put the value before the last rotation back in force, everywhere."""

from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import BEHIND, end_command
from keyturn.cli.options import CatalogueOption, JsonOption, PathArgument, YesOption, insist_on_terminal
from keyturn.cli.output import note, when, write_json, write_table

if TYPE_CHECKING:
    from keyturn.core.rotation_record import Rotation

WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="What is wrong with the new value; it is kept.")]
DryRollbackOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, or what forbids it.")]


def rollback_secret(
    path: PathArgument,
    why: WhyOption,
    dry_run: DryRollbackOption = False,
    yes: YesOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the value before the last rotation in force again, within its grace.

    It is tried first if the target accepts both, becomes CURRENT as a new version, and every copy and consumer
    follows. The newer value keeps working for the grace period. Safe to run again.
    """
    from keyturn.cli.emergencies import reports
    from keyturn.core.rotation_record import Stage
    from keyturn.rotation.outcome import unsettled
    from keyturn.rotation.report import outcome_data
    from keyturn.rotation.rollback import revertible
    from keyturn.rotation.run import restore_previous

    if not why.strip():
        raise typer.BadParameter("say what is wrong with the new value: --why TEXT")
    insist_on_terminal(dry_run or yes, "give --yes, or --dry-run")
    with opened_workspace(catalogue) as workspace:
        rotation = revertible(workspace, path)
        note(what_it_does(path, rotation))
        if dry_run:
            return
        if not yes and rotation.stage is Stage.PROMOTED and not typer.confirm("Do it?", err=True):
            raise typer.Abort
        outcome = restore_previous(workspace, path, why.strip())
    if as_json:
        write_json(outcome_data(outcome))
    else:
        write_table(reports.ROTATION_COLUMNS, reports.outcome_rows(outcome))
    note(f"{path}: version {outcome.version} holds the value from before; {outcome.previous}")
    if error := unsettled(outcome):
        end_command(error, BEHIND)


def what_it_does(path: str, rotation: "Rotation") -> str:
    from keyturn.core.rotation_record import Stage

    if rotation.stage is Stage.REVERTED:
        return f"{path}: the previous value is in force already; consumers that have not acknowledged it are notified"
    if rotation.stage is Stage.REVERTING:
        return f"{path}: an earlier run died while it put the value from before in force; that is finished"
    acknowledged = f"; {', '.join(rotation.acknowledged)} acknowledged it" if rotation.acknowledged else ""
    return (
        f"{path}: version {rotation.version} of {when(rotation.promoted_at)} UTC is in force{acknowledged}. "
        f"What version {rotation.base_version} holds is put in force again"
    )
