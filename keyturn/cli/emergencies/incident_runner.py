"""Finishing an incident: by the revocation worker, or in this process without Prefect."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.cli.emergencies.wake import ANSWERS, wake_keeper
from keyturn.cli.failures import BEHIND, FAILED, end_command, missing_package, of_the_system, say
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.errors import KeyturnError, NotEnded, TransientError
from keyturn.core.workspaces import WorkspaceNames
from keyturn.revocation.incidents.incident import RETRIED, IncidentStatus, Step

if TYPE_CHECKING:
    from keyturn.cli.running.watch import Run
    from keyturn.rotation.state.context import Workspace

FLOW: Final = "emergency-revoke"
RESUME: Final = "resume-incident"

BEGUN: Final = 30.0
"""Seconds within which a worker must begin the run; after that it is done in this process.

By then the consumers have new credentials. A process worker polls every ten seconds by default, and takes 5 to 16 more
to begin a run.
"""


@dataclass(frozen=True)
class Carried:
    """An incident's current status, and its Prefect run; None if this process did the work."""

    standing: IncidentStatus
    run: "Run | None" = None


@dataclass(frozen=True)
class Through:
    """How an incident is finished: here if ``local``, else by the workspace's worker within ``timeout`` seconds."""

    local: bool
    timeout: float
    workspace: str


def carry_on(workspace: "Workspace", incident: str, through: Through, before: IncidentStatus | None = None) -> Carried:
    """Finish an incident after the cut. Without Prefect it is done here, with a note.

    ``before`` is its status if just read.
    """
    from keyturn.revocation.incidents.store import load_status

    if through.local:
        note("running in this process, without Prefect")
        return finish_or_wake(workspace, incident, through, before)
    try:
        run = through_prefect(incident, through.timeout, WorkspaceNames(through.workspace))
    except KeyturnError as error:
        note(f"going on in this process, without Prefect: {error.problem}")
        return finish_or_wake(workspace, incident, through)
    return Carried(load_status(workspace, incident), run)


def finish_or_wake(
    workspace: "Workspace", incident: str, through: Through, before: IncidentStatus | None = None
) -> Carried:
    """Finish it here, and have a checkpoint cover it. If it stays open, wake the keeper for the rest.

    ``before`` is its status if just read.
    """
    from keyturn.revocation.run import finish

    finished = finish(workspace, incident, before)
    sign_ledger(workspace)
    if finished.open:
        wake_keeper(through.workspace)
    return Carried(finished)


def tell_on_call(workspace: "Workspace", incident: str) -> None:
    """Send the pending messages of an incident. A failed message stays in its outbox, with a note.

    Without a channel configured here, the workers send them.
    """
    from keyturn.revocation.incidents.outbox import tell_people

    if problem := workspace.channel and tell_people(workspace, incident):
        note(f"the person on call was NOT NOTIFIED: {problem}; finish-incidents sends it again")


def through_prefect(incident: str, timeout: float, workspace: WorkspaceNames) -> "Run | None":
    """Have the worker do it, and watch; None if watching ended first. Raises KeyturnError if Prefect cannot run it."""
    if find_spec("prefect") is None:
        raise missing_package("prefect")
    from keyturn.cli.running.watch import StillRuns, run_deployment

    try:
        run = run_deployment(RESUME, {"incident": incident}, timeout, workspace, BEGUN, ANSWERS)
    except StillRuns as error:
        note(f"{error.problem}; {resume_hint(incident)}")
        return None
    if not run.completed:
        note(f"the run ended as {run.state.lower()}; {resume_hint(incident)}")
    return run


def resume_hint(incident: str) -> str:
    return (
        f"while {incident} is open, finish-incidents retries it {RETRIED}; "
        f"to retry now: keyturn revoke --resume {incident}"
    )


# --- what came of it


def show_incident(workspace: "Workspace", carried: Carried, directory: Path | None, as_json: bool) -> None:
    """Show the secrets, what is left and the report's files, then exit with the matching code."""
    from keyturn.cli.emergencies import incident_tables as tables

    standing, run = carried.standing, carried.run
    files = write_reports(workspace, standing, directory)
    if as_json:
        extra = {"reports": [str(file) for file in files], "run": run.to_data() if run else None}
        write_json({**tables.standing_data(standing), **extra})
    else:
        tell_secrets(standing)
        tell_files(files)
    if failure := incident_failure(standing):
        end_command(*failure)
    note(closing_line(standing))


def closing_line(standing: IncidentStatus) -> str:
    """The result of a closed incident, with what is not proven."""
    incident = standing.incident
    by = f" by {incident.given_up_by}: {incident.given_up}" if incident.given_up else ""
    return "\n".join((*standing.unproven, f"{incident.id} is {standing.conclusion}{by}"))


def sign_ledger(workspace: "Workspace") -> None:
    """Have the ledger signed, so that a checkpoint covers the incident. Notes a failure."""
    from keyturn.revocation.report.facts import sign_ledger

    try:
        if not sign_ledger(workspace):
            note("the ledger's next checkpoint covers it: the notary makes one within 15 minutes")
    except KeyturnError as error:
        say(error)


def write_reports(workspace: "Workspace", standing: IncidentStatus, directory: Path | None) -> list[Path]:
    """Write the report's files. Reports an error instead of raising it; the incident is unaffected."""
    try:
        return write_report_files(workspace, standing, directory)
    except OSError as error:
        say(of_the_system(error))
    except KeyturnError as error:
        say(error)
    return []


def write_report_files(workspace: "Workspace", standing: IncidentStatus, directory: Path | None) -> list[Path]:
    """Write the current report in every form and replace earlier files. Raises Unavailable, OSError."""
    from keyturn.revocation.report import write_report
    from keyturn.revocation.report.facts import ledger_facts, readers_of
    from keyturn.settings.directories import PRIVATE, make_private, state_directory

    place = directory or state_directory() / "incidents"
    if directory is None:
        make_private(place).chmod(PRIVATE)
    facts = ledger_facts(workspace, standing)
    return write_report(standing, readers_of(workspace, standing), place, facts, workspace.clock())


def tell_files(files: list[Path]) -> None:
    if files:
        note("\n".join(["report:", *(f"  {file}" for file in files)]))


def tell_secrets(standing: IncidentStatus) -> None:
    """Show each secret, and what is left or remains."""
    from keyturn.cli.emergencies import incident_tables as tables

    incident = standing.incident
    if standing.secrets:
        rows = [tables.secret_row(incident, secret) for secret in standing.secrets]
        write_table(tables.SECRET_COLUMNS, rows, whole=("refused after", "clear after", "new version"))
    if more := list(tables.more_rows(standing)):
        write_table(tables.MORE_COLUMNS, more, whole=("what",))


def incident_failure(standing: IncidentStatus) -> tuple[KeyturnError, int] | None:
    """The error and exit code for an open incident: 3 only if every credential has ended."""
    if not standing.open:
        return None
    name, hint = f"incident {standing.incident.id}", f"Fix the cause; {resume_hint(standing.incident.id)}"
    works = [secret.path for secret in standing.secrets if Step.CUT not in secret.done]
    if works:
        problem = f"NOT ENDED at the target yet: {', '.join(works)}"
        hint = f"Run the commands above at the target; {resume_hint(standing.incident.id)}"
        return NotEnded("close", name, problem, hint), FAILED
    left = standing.left
    many = f"{len(left)} things are left, the first is {left[0]}" if left else "no proof"
    remainder = left[0] if len(left) == 1 else many
    return TransientError("close", name, f"every credential has ended, but it stays open: {remainder}", hint), BEHIND
