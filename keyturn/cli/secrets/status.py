"""``keyturn status``: the local stack's services, and the state of every secret."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.copies.grouped import CopyFailure, failure_lines
from keyturn.cli.environment import home_directory, known_stack, opened_workspace
from keyturn.cli.failures import UNKNOWN, say
from keyturn.cli.options import CatalogueOption, JsonOption, Layout, OutputOption, layout_of
from keyturn.cli.output import encodable, note, when, write_json, write_names, write_table, write_text
from keyturn.core.errors import KeyturnError
from keyturn.doctor.results import Grade

if TYPE_CHECKING:
    from keyturn.cli.secrets.secret_status import SecretStatus
    from keyturn.pages.dashboard import Dashboard
    from keyturn.rotation.repair.removed_entries import Undeclared

from keyturn.cli.local_stack import SERVICE_COLUMNS, LocalStack, StackService, service_row, services_of, stack_data
from keyturn.cli.secrets.overview import Assessment, Overview, overview_of

SHOWN: Final = 20
"""The most copies of undeclared secrets to show."""
LONGEST_WHOLE: Final = 40
"""Characters of a path that is never folded."""
CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"
"""Move to the upper left, and clear the screen and its history."""

WatchOption = Annotated[
    int,
    typer.Option("--watch", metavar="SECONDS", min=0, help="Look again this often, until Ctrl-C; at a terminal alone."),
]


def status(
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Layout.TABLE,
    watch: WatchOption = 0,
) -> None:
    """Show the services, and the state of every secret.

    Each secret with its version and age, when it is due, its copies (since when they fail) and its consumers.
    """
    layout = layout_of(output, as_json)
    if not watch:
        if code := show_status(catalogue, layout):
            raise typer.Exit(code)
        return None
    if layout not in (Layout.TABLE, Layout.WIDE):
        raise typer.BadParameter("--watch shows tables: give it without --json, --output json and --output name")
    return redraw(lambda: show_status(catalogue, layout), watch)


def redraw(show: Callable[[], object], seconds: int) -> None:
    """Show, wait and show again until Ctrl-C. After the first time, an error is displayed and the loop continues.

    An error the first time ends the command. Raises BadParameter if stdout is no terminal.
    """

    def show_or_say() -> None:
        try:
            show()
        except KeyturnError as error:
            say(error)

    if not sys.stdout.isatty():
        raise typer.BadParameter("--watch needs a terminal: what goes elsewhere is shown once, without it")
    try:
        picture = drawing(show)
        while True:
            head = f"every {seconds} s, {when(datetime.now(UTC))} UTC; Ctrl-C ends it"
            sys.stdout.write(f"{CLEAR}{head}\n\n{encodable(picture)}")
            sys.stdout.flush()
            sleep(seconds)
            picture = drawing(show_or_say)
    except KeyboardInterrupt:
        sys.stdout.write("\n")


def drawing(show: Callable[[], object]) -> str:
    text = StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        show()
    return text.getvalue()


def show_status(catalogue: Path | None, layout: Layout) -> int:
    stack, services = stack_and_services()
    stopped = stack is not None and not any(s.running for s in services if s.name == "openbao")
    if stopped and not os.environ.get("VAULT_ADDR"):
        note("the local stack's hub does not run, so its secrets are not shown; start it with `keyturn up`")
        show_overview(stack, services, Overview(), layout)
        return UNKNOWN
    return show_secrets(stack, services, catalogue, layout)


def stack_and_services() -> tuple[LocalStack | None, list[StackService]]:
    """Return the local stack here and its services, or a note and nothing if they can't be read."""
    try:
        stack = known_stack()
        return stack, services_of(stack) if stack else []
    except KeyturnError as error:
        note(f"the services of the local stack in {home_directory()} are unknown: {error}")
        return None, []


def show_secrets(stack: LocalStack | None, services: list[StackService], catalogue: Path | None, layout: Layout) -> int:
    """Show services and secrets, and return the exit code.

    If the hub fails, still show the services, and in JSON what is unknown.
    """
    from keyturn.cli.secrets.dashboard import Drawing

    try:
        with opened_workspace(catalogue, looking=True) as workspace:
            overview = overview_of(workspace)
            overview = replace(overview, assessment=assess(Drawing(workspace, overview).board()))
    except KeyturnError as error:
        if services or layout is Layout.JSON:
            unknown = Overview(assessment=Assessment(unknown=(error.text,)))
            show_overview(stack, services, unknown, layout)
        raise
    show_overview(stack, services, overview, layout)
    return 0 if layout is Layout.NAME else overview.assessment.code


def assess(board: "Dashboard") -> Assessment:
    from keyturn.pages.dashboard import Level

    named = [(f"{line.kind} {line.name}".removeprefix("health "), line.level) for line in board.others]
    named += [(line.path, line.level) for line in board.secrets]
    failed, unknown = (tuple(name for name, level in named if level is wanted) for wanted in (Level.BAD, Level.UNKNOWN))
    return Assessment(failed, (*unknown, *board.unseen))


def show_overview(stack: LocalStack | None, services: list[StackService], overview: Overview, layout: Layout) -> None:
    if layout is Layout.NAME:
        return write_names(secret.path for secret in overview.secrets)
    if layout is Layout.JSON:
        return write_json(
            {
                "stack": stack_data(stack, services) if stack else None,
                "hub": os.environ.get("VAULT_ADDR"),
                "secrets": [secret.to_data() for secret in overview.secrets],
                "others": [{"secret": place.item.path, **place.to_data()} for place in overview.others],
                "copies": overview.counts,
                "logins": login_counts(overview.secrets),
                "undeclared": [{"path": left.path, "left": left.message} for left in overview.undeclared],
                "keys": [key.to_data() for key in overview.keys],
                "authorities": [authority.to_data() for authority in overview.authorities],
                "restored": overview.restoration.to_data() if overview.restoration else None,
                "hub_setup": overview.hub.to_data() if overview.hub else None,
                "parts": [part.to_data() for part in overview.parts],
                "access": [grant.to_data() for grant in overview.grants],
                "unreviewed": [asdict(glass) for glass in overview.unreviewed],
                "remarks": list(overview.remarks),
                "static_keys_left": overview.static_keys,
                "health": {
                    "state": overview.assessment.state,
                    "failed": list(overview.assessment.failed),
                    "unknown": list(overview.assessment.unknown),
                    "checks": [check.to_data() for check in overview.health],
                },
            }
        )
    if services:
        write_table(SERVICE_COLUMNS, map(service_row, services))
    if services and overview.secrets:
        write_text("")
    if overview.restoration and overview.restoration.to_do:
        note(overview.restoration.to_do)
    if overview.secrets:
        show_standings(overview)
    if overview.keys and overview.at:
        from keyturn.cli.keys.commands import tell_keys

        tell_keys(overview.keys, overview.at)
    if overview.authorities and overview.at:
        from keyturn.cli.setup.pki import tell_authorities

        tell_authorities(overview.authorities, overview.at)
    if overview.unreviewed:
        from keyturn.cli.emergencies.approvals import tell_unreviewed

        tell_unreviewed(overview.unreviewed)
    if overview.hub:
        note(overview.hub.words)
    for grant in overview.grants:
        note(grant.words)
    for part in overview.parts:
        if part.problem:
            note(f"{part.part} {part.problem}")
    for check in overview.health:
        if check.grade is not Grade.WELL:
            note(f"{check.name}: {check.words}{f'. {check.remedy}' if check.remedy else ''}")
    if overview.static_keys:
        note(f"{overview.static_keys} static keys left that a workload identity can replace: `keyturn fade` lists them")
    for line in overview.assessment.lines():
        note(line)
    return None


def login_counts(secrets: Sequence["SecretStatus"]) -> dict[str, int]:
    from keyturn.rotation.state.login_checks import count_results

    return count_results([secret.login for secret in secrets if secret.rotated_at and not secret.ended_by])


def show_standings(overview: Overview) -> None:
    """Show the secrets' table. Failures of copies go to stderr, as they are long."""
    from keyturn.cli.secrets.secret_status import COLUMNS

    rows = [secret.row() for secret in overview.secrets]
    write_table(COLUMNS, rows, COLUMNS[:1] if max((len(row[0]) for row in rows), default=0) <= LONGEST_WHOLE else ())
    listed = [(secret.path, copy) for secret in overview.secrets for copy in secret.copies if copy.error]
    listed += [(other.item.path, other) for other in overview.others[:SHOWN]]
    failures = (
        CopyFailure(copy.item.store, copy.item.name, path, copy.error or copy.state, copy.kind, copy.since)
        for path, copy in listed
    )
    for line in failure_lines(failures):
        note(line)
    note_silent(overview.secrets)
    if len(overview.others) > SHOWN:
        note(f"and {len(overview.others) - SHOWN} more copies of secrets that only patterns push: see `keyturn plan`")
    note_undeclared(overview.undeclared)
    first = overview.restoration.to_do if overview.restoration else ""
    for remark in overview.remarks:
        if remark != first:
            note(remark)
    if overview.counts:
        note(f"copies: {', '.join(f'{count} {action}' for action, count in overview.counts.items())}")


def note_silent(secrets: Sequence["SecretStatus"]) -> None:
    listed = [(secret.path, hearing) for secret in secrets for hearing in secret.consumers if hearing.silence]
    for path, hearing in listed[:SHOWN]:
        since = f" (since {when(hearing.since)} UTC)" if hearing.since else ""
        note(f"{hearing.consumer} of {path}: {hearing.silence.error if hearing.silence else ''}{since}")
    if len(listed) > SHOWN:
        note(f"and {len(listed) - SHOWN} more consumers")


def note_undeclared(undeclared: Sequence["Undeclared"]) -> None:
    for secret in undeclared[:SHOWN]:
        note(f"NOT DECLARED {secret.path}: {secret.message}")
    if len(undeclared) > SHOWN:
        note(f"and {len(undeclared) - SHOWN} more that nothing declares")
