"""``keyturn incidents``: list all revocations, or show one in full."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import options
from keyturn.cli.completion import complete_incident
from keyturn.cli.environment import opened_workspace
from keyturn.cli.output import note, write_json, write_names, write_table, write_text
from keyturn.core.actor import going_past_rules
from keyturn.revocation.incidents.incident import Mode

if TYPE_CHECKING:
    from keyturn.revocation.incidents.incident import IncidentStatus
    from keyturn.rotation.state.context import Workspace

IncidentArgument = Annotated[
    str | None,
    typer.Argument(metavar="ID", help="One incident; without it, all of them.", autocompletion=complete_incident),
]
GiveUpOption = Annotated[
    str, typer.Option("--give-up", metavar="REASON", help="Close this open one, which is not proven, for this reason.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Only those that are not over.")]


def incidents(
    incident: IncidentArgument = None,
    only_open: OpenOption = False,
    catalogue: options.CatalogueOption = None,
    as_json: options.JsonOption = False,
    report: options.ReportOption = None,
    give_up: GiveUpOption = "",
    break_glass: options.BreakGlassOption = "",
    output: options.OutputOption = options.Layout.TABLE,
) -> None:
    """Show the incidents, the newest first; or one in full, with everything that was done.

    --give-up closes an open one that can't be proven, with the reason that a person gives. What is left stays listed.
    """
    layout = options.layout_of(output, as_json)
    if incident is None and report is not None:
        raise typer.BadParameter("--report is for one incident: give its ID")
    if incident is not None and only_open:
        raise typer.BadParameter("give an ID or --open, not both")
    if give_up and incident is None:
        raise typer.BadParameter("--give-up is for one incident: give its ID")
    with (
        going_past_rules(break_glass=break_glass),
        opened_workspace(catalogue, revoking=bool(give_up), lenient=True, looking=not give_up) as workspace,
    ):
        if give_up and incident is not None:
            give_up_incident(workspace, incident, give_up)
        if incident is None:
            return show_all(workspace, only_open, layout)
        return show_one(workspace, incident, report, layout)


def give_up_incident(workspace: "Workspace", incident: str, reason: str) -> None:
    """Close it with what is left, send the messages, and show what its secrets need now."""
    from keyturn.cli.emergencies.incident_runner import tell_on_call
    from keyturn.revocation.incidents.give_up import give_up_incident

    standing = give_up_incident(workspace, incident, reason)
    tell_on_call(workspace, incident)
    note(f"{incident} is {standing.conclusion}: what is left stays listed")
    for secret in standing.secrets:
        if not secret.version and standing.incident.mode is Mode.REPLACE:
            note(f"{secret.path} has no new credential yet: run `keyturn rotate {secret.path} --now`")


def show_all(workspace: "Workspace", only_open: bool, layout: options.Layout) -> None:
    from keyturn.cli.emergencies import incident_tables as tables
    from keyturn.cli.emergencies.approvals import find_unreviewed, tell_unreviewed
    from keyturn.revocation.incidents import store as incident_store

    incidents = incident_store.list_open(workspace) if only_open else incident_store.list_incidents(workspace)
    if layout is options.Layout.NAME:
        return write_names(incident.id for incident in incidents)
    unreviewed = find_unreviewed(workspace)
    if layout is options.Layout.JSON:
        listed = [tables.incident_data(incident) for incident in incidents]
        return write_json({"incidents": listed, "unreviewed": [asdict(broken) for broken in unreviewed]})
    tell_unreviewed(unreviewed)
    if not incidents:
        return note("no incident is open" if only_open else "there was no incident")
    return write_table(tables.LIST_COLUMNS, map(tables.list_row, incidents), whole=tables.LIST_COLUMNS[:-1])


def show_one(workspace: "Workspace", incident: str, directory: Path | None, layout: options.Layout) -> None:
    """Show one incident in full. Writes the report's files if ``directory`` is given."""
    from keyturn.cli.emergencies.incident_runner import tell_files, write_report_files
    from keyturn.cli.emergencies.incident_tables import standing_data
    from keyturn.revocation.incidents.store import load_status

    status = load_status(workspace, incident)
    files = write_report_files(workspace, status, directory) if directory else []
    if layout is options.Layout.NAME:
        return write_names([incident])
    if layout is options.Layout.JSON:
        return write_json({**standing_data(status), "reports": [str(file) for file in files]})
    tell_incident(status)
    return tell_files(files)


def tell_incident(status: "IncidentStatus") -> None:
    from keyturn.cli.emergencies import incident_runner
    from keyturn.cli.emergencies import incident_tables as tables

    incident = status.incident
    write_table(("incident", incident.id), tables.about_rows(status))
    write_text("")
    incident_runner.tell_secrets(status)
    if checks := list(tables.check_rows(status)):
        write_text("")
        write_table(tables.CHECK_COLUMNS, checks, whole=("checked", "answer"))
    if rows := list(tables.event_rows(status)):
        write_text("")
        write_table(tables.EVENT_COLUMNS, rows, whole=("when (UTC)", "step", "result"))
