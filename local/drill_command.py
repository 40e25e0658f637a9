"""``keyturn drill``: how long a revocation takes, shown on a copy in the local stack."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from keyturn.cli.emergencies.incident_runner import sign_ledger, tell_files, write_reports
from keyturn.cli.environment import known_stack, opened_workspace
from keyturn.cli.failures import BEHIND, end_command
from keyturn.cli.options import CatalogueOption, JsonOption, ModeOption, PathArgument, ReportOption
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.core.errors import Invalid, TransientError, Unavailable
from keyturn.revocation.incidents.incident import Mode
from local import environment
from local.drill import Asked, Drilled
from local.drill import drill as carried_out
from local.home import Stack

if TYPE_CHECKING:
    from keyturn.revocation.report.model import PlaceReport

DrillReason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the report and the ledger.")]
DrillExpect = Annotated[
    int, typer.Option("--expect", metavar="N", min=0, help="How many secrets end: 1, where --mode revoke-only asks it.")
]

COPY_COLUMNS: Final = ("copy", "new value after", "old removed after")

TIMES: Final = {
    "refused": "the credential is refused",
    "session": "the open session is ended",
    "application": "the application was notified, and has acted",
    "clear": "every copy is clear, proven",
}


def drill(
    path: PathArgument,
    mode: ModeOption = Mode.REPLACE,
    reason: DrillReason = "",
    expect: DrillExpect = 0,
    catalogue: CatalogueOption = None,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try out a revocation on a copy of one secret in the local stack, and tell how long it takes.

    The secret itself, its copies and its consumers are left alone: the drill makes a secret like it, revokes that with
    the real engine while an intruder uses the leaked credential, and removes everything of it again. It asks nothing.
    """
    if "*" in path:
        raise typer.BadParameter("a drill is for one secret: give its PATH, not a pattern")
    run_drill(path, mode, reason.strip(), expect, catalogue, report, as_json=as_json)


def run_drill(
    path: str, mode: Mode, reason: str, expect: int, catalogue: Path | None, report: Path | None, *, as_json: bool
) -> None:
    """Revoke a copy of one secret in the local stack, and say how long it took; the secret itself is left alone."""
    stack = insist_on_stack()
    from keyturn.revocation.incidents.consent import Consent

    with opened_workspace(catalogue, revoking=True) as workspace:
        # A copy has names of its own, which the rendered rights of the revoker may not include.
        os.environ.update(environment.aws(stack) | environment.azure(stack))
        drilled = carried_out(workspace, stack, Asked(path, mode, reason, Consent(expect)), note)
        sign_ledger(workspace)
        files = write_reports(workspace, drilled.standing, report)
    show_drill(drilled, files, as_json)


def insist_on_stack() -> Stack:
    """The local stack, which runs; whatever VAULT_ADDR says leads there. Raises Invalid, Unavailable."""
    stack, address = known_stack(), os.environ.get("VAULT_ADDR", "")
    if stack is None:
        problem = "there is no local stack, and a drill runs nowhere else"
        raise Invalid("find", "the local stack", problem, "Start one with `keyturn up`, or set KEYTURN_HOME to it")
    if address and address.rstrip("/") != stack.hub.address:
        problem = f"VAULT_ADDR points to {address}, and a drill runs only on the local stack"
        raise Invalid("drill on", "another hub", problem, f"Unset VAULT_ADDR: the stack in {stack.home} is found then")
    if stack.hub.process.pid is None:
        problem = f"the local stack in {stack.home} does not run"
        raise Unavailable("find", "the hub", problem, "Run `keyturn up`")
    # Found like this, all that is in the environment comes from the stack.
    os.environ.pop("VAULT_ADDR", None)
    return cast("Stack", stack)


# --- what came of it


def show_drill(drilled: Drilled, files: list[Path], as_json: bool) -> None:
    """All of it, and the exit code that belongs to it: 3 where something was left, whatever it is."""
    if as_json:
        write_json({**data(drilled), "reports": [str(file) for file in files]})
    else:
        tell_times(drilled)
        tell_files(files)
    if not drilled.proven or drilled.kept:
        hint = "Fix the cause, and drill again: it starts over"
        end_command(TransientError("drill", drilled.path, drill_failure(drilled), hint), BEHIND)
    note(f"{drilled.standing.incident.id} is over: all of it is proven, and nothing of it is left")


def drill_failure(drilled: Drilled) -> str:
    """The first of what was left, in words."""
    if drilled.refused_at is None:
        return "the leaked credential is STILL ACCEPTED"
    if drilled.held and drilled.session_ended_at is None:
        return "the intruder's session IS STILL OPEN"
    if left := (*drilled.found, *drilled.standing.left):
        return f"{len(left)} things are left, the first is {left[0]}" if len(left) > 1 else left[0]
    return f"it is proven, and of the drill itself there is left {'; '.join(drilled.kept) or 'an open incident'}"


def tell_times(drilled: Drilled) -> None:
    """How long everything took, and what is to be known besides, for people."""
    write_table((f"drill of {drilled.path}", "after"), rows(drilled), whole=("after",))
    write_text("")
    write_table(COPY_COLUMNS, copy_rows(drilled), whole=COPY_COLUMNS[1:])
    if more := list(more_rows(drilled)):
        write_text("")
        write_table(("what", ""), more, whole=("what",))


def rows(drilled: Drilled) -> Iterator[tuple[str, str]]:
    """What is over, and when."""
    for name, what in TIMES.items():
        if name != "session" or drilled.held:
            yield what, in_seconds(drilled.seconds[name]) or "NOT SEEN"


def copy_rows(drilled: Drilled) -> Iterator[tuple[str, str, str]]:
    """The hub, and each copy."""
    for place in copies(drilled):
        yield (
            without_role(drilled, place.place),
            in_seconds(place.replaced_seconds) or "-",
            in_seconds(place.removed_seconds) or "NOT REMOVED",
        )


def more_rows(drilled: Drilled) -> Iterator[tuple[str, str]]:
    """What is left, what a service can't remove, and what is otherwise with the real secret."""
    (secret,) = drilled.standing.secrets
    sections = {
        "left": drilled.standing.left,
        "found": drilled.found,
        "kept": drilled.kept,
        "remains": secret.remains,
        "outlives": secret.outlives,
        "differs": drilled.differs,
    }
    for what, lines in sections.items():
        yield from ((what, without_role(drilled, line)) for line in lines)


def without_role(drilled: Drilled, text: str) -> str:
    """The same without what all names of the drill have in common."""
    return text.replace(drilled.names.role, "...")


def copies(drilled: Drilled) -> "list[PlaceReport]":
    """The hub and every copy, each with its times."""
    from keyturn.revocation.report.build import place_reports

    (secret,) = drilled.standing.secrets
    return list(place_reports(drilled.standing.incident, secret))


def in_seconds(seconds: float | None) -> str:
    """For people; empty for what has not happened."""
    return "" if seconds is None else f"{seconds:.2f} s"


def data(drilled: Drilled) -> dict[str, Any]:
    """For scripts."""
    (secret,) = drilled.standing.secrets
    return {
        "id": drilled.standing.incident.id,
        "path": drilled.path,
        "strategy": drilled.strategy,
        "mode": str(drilled.standing.incident.mode),
        "proven": drilled.proven,
        "seconds": drilled.seconds,
        "tried": drilled.tried,
        "sessions": secret.sessions,
        "copies": [
            {"place": place.place, "replaced": place.replaced_seconds, "removed": place.removed_seconds}
            for place in copies(drilled)
        ],
        "left": list(drilled.standing.left),
        "found": list(drilled.found),
        "kept": list(drilled.kept),
        "remains": list(secret.remains),
        "outlives": list(secret.outlives),
        "differs": list(drilled.differs),
    }
