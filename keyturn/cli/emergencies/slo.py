"""``keyturn slo``: how long a revoked credential works, by incidents, drills and rehearsals, against its objective."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED, UNKNOWN, end_command
from keyturn.cli.options import CatalogueOption, JsonOption, Layout, OptionalPath, OutputOption, layout_of
from keyturn.cli.output import note, write_json, write_names, write_table
from keyturn.core.errors import TerminalError
from keyturn.settings.durations import show

if TYPE_CHECKING:
    from keyturn.revocation.objectives.measured import ObjectiveStatus

COLUMNS: Final = ("secret", "objective", "p50", "p95", "last tested (UTC)", "by", "state", "notes")

CheckOption = Annotated[
    bool,
    typer.Option("--check", help="End with 1 if an objective is missed or a rehearsal overdue, 5 if one is unknown."),
]
RehearseOption = Annotated[
    bool, typer.Option("--rehearse", help="Measure now, with a throw-away credential; needs PATH.")
]


def slo(
    path: OptionalPath = None,
    rehearse: RehearseOption = False,
    check: CheckOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Layout.TABLE,
) -> None:
    """Show how long revoked credentials still worked, against the objective `dead_within`.

    Measured by incidents, drills, and weekly rehearsals with a throw-away credential.
    """
    from keyturn.revocation.objectives.measured import objective_statuses

    layout = layout_of(output, as_json)
    if rehearse and not path:
        raise typer.BadParameter("--rehearse is for one PATH")
    with opened_workspace(catalogue, looking=not rehearse) as workspace:
        paths = [workspace.secret(path).path] if path else sorted(workspace.catalogue.secrets)
        if rehearse:
            from keyturn.revocation.objectives.rehearsing import rehearse as rehearse_secret

            note(f"{paths[0]}: {rehearse_secret(workspace, paths[0]).words}")
        rows = objective_statuses(workspace, paths)
    if layout is Layout.NAME:
        write_names(row.path for row in rows)
    elif layout is Layout.JSON:
        write_json({"secrets": [row.to_data() for row in rows]})
    else:
        write_table(COLUMNS, map(table_row, rows), whole=("last tested (UTC)",))
    if check:
        insist_on_objectives(rows)


def table_row(status: "ObjectiveStatus") -> tuple[str, ...]:
    """One line of the table."""
    last = status.last
    by_hand = f"not ended by machine: {status.by_hand}" if status.by_hand else ""
    silent = f"can't acknowledge a replacement: {', '.join(status.silent)}" if status.silent else ""
    return (
        status.path,
        show(status.objective) if status.objective else "-",
        two_digits(status.percentile(0.5)),
        two_digits(status.percentile(0.95)),
        f"{last.at:%Y-%m-%d %H:%M}" if last else "-",
        str(last.by) if last else "-",
        status.state,
        "; ".join(filter(None, (status.why, by_hand, silent))),
    )


def two_digits(value: float | None) -> str:
    """A time in seconds, or a dash."""
    return "-" if value is None else f"{value:.2f} s"


def insist_on_objectives(rows: "list[ObjectiveStatus]") -> None:
    """End with 1 if an objective is missed or a rehearsal overdue, else with 5 if one is unknown or never tested."""
    declared = [row for row in rows if row.objective]
    remedy = "Measure it with `keyturn slo PATH --rehearse`, and see that the keeper and a worker run"
    if bad := [row for row in declared if row.missed or row.overdue]:
        end_command(TerminalError("check", first_of(bad), bad[0].missed or bad[0].overdue, remedy), FAILED)
    if unknown := [row for row in declared if row.state in ("unknown", "untested")]:
        end_command(TerminalError("check", first_of(unknown), unknown[0].why or "never tested", remedy), UNKNOWN)


def first_of(rows: "list[ObjectiveStatus]") -> str:
    """The first of these, and how many there are."""
    return rows[0].path if len(rows) == 1 else f"{len(rows)} secrets, first {rows[0].path}"
