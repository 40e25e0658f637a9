"""``keyturn pki``: compare the catalogue's authorities with the hub's PKI engines, and apply them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import EXIT_CODES, FAILED, end_command
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.errors import TerminalError

if TYPE_CHECKING:
    from keyturn.core.ports.authorities import PkiStep
    from keyturn.keys.authority_status import AuthorityStatus
    from keyturn.rotation.state.context import Workspace

commands = typer.Typer(help="Authorities that sign certificates.", no_args_is_help=True)

COLUMNS: Final = ("authority", "step", "where", "why")
STATUS_COLUMNS: Final = ("authority", "issuer in force", "followed (UTC)", "what else")
BLOCKED: Final = "blocked"
"""As in :class:`keyturn.core.ports.authorities.StepKind`, which is not imported for the help."""


@commands.command("plan", epilog=EXIT_CODES)
def show_plan(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Show what differs between the catalogue's authorities and the hub's PKI engines. Changes nothing.

    Of what depends on a step before it, the first is shown. Ends with 1 where something is blocked.
    """
    with opened_workspace(catalogue) as workspace:
        from keyturn.keys.authorities import plan_pki

        steps = plan_pki(workspace)
    show([], steps, as_json)
    if not steps:
        note("the hub's PKI engines are as the catalogue says")
    insist_on_none_blocked(steps)


@commands.command("apply", epilog=EXIT_CODES)
def bring_about(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Apply the catalogue to the hub's PKI engines. A second run changes nothing.

    A new issuer is created next to the one in force, which stays: certificates that it has signed remain valid.
    """
    with opened_workspace(catalogue) as workspace:
        from keyturn.keys.authorities import apply_pki

        done: list[PkiStep] = []

        def tell(step: "PkiStep") -> None:
            done.append(step)
            note(f"{step.kind}: {step.place}: {step.why}")

        left = apply_pki(workspace, tell)
    show(done, left, as_json)
    if not done:
        note("nothing was to be done")
    insist_on_none_blocked(left)


@commands.command("list", epilog=EXIT_CODES)
def list_authorities(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Show the state of every authority, and when its issuer is replaced. Needs no right in the hub."""
    with opened_workspace(catalogue) as workspace:
        statuses, now = authorities_of(workspace), workspace.hub_now()
    if as_json:
        write_json({"authorities": [status.to_data() for status in statuses]})
    elif statuses:
        tell_authorities(statuses, now)
    else:
        note("the catalogue declares no authorities")


def authorities_of(workspace: "Workspace") -> "list[AuthorityStatus]":
    """Return all authorities, parents first; the adapter is imported only if there are any."""
    if not workspace.catalogue.pki:
        return []
    from keyturn.keys.authority_status import authority_statuses

    return authority_statuses(workspace)


def tell_authorities(statuses: "Sequence[AuthorityStatus]", now: datetime) -> None:
    if statuses:
        rows = (authority_row(status, now) for status in statuses)
        write_table(STATUS_COLUMNS, rows, whole=("followed (UTC)",))


def authority_row(status: "AuthorityStatus", now: datetime) -> tuple[str, str, str, str]:
    issuer, due_at = status.issuer, status.due_at
    named = f"{issuer.key_name or issuer.id} ({issuer.key})\nends {issuer.ends_at:%Y-%m-%d %H:%M}" if issuer else "-"
    moment = "now" if status.due and issuer else f"{due_at:%Y-%m-%d %H:%M}" if due_at else "-"
    remark = f"ALARM: {status.standing}: {status.alarm}" if status.alarm else status.why
    return f"{status.name}\n{status.mount}", named, moment, remark or "-"


def insist_on_lasting(statuses: "Sequence[AuthorityStatus]") -> None:
    if wrong := [status for status in statuses if status.alarm]:
        first = wrong[0]
        remedy = "See `keyturn pki list`, and run `keyturn pki apply` with a login that may"
        end_command(TerminalError("check", first.name, f"{first.standing}: {first.alarm}", remedy), FAILED)


def show(done: "Sequence[PkiStep]", left: "Sequence[PkiStep]", as_json: bool) -> None:
    if as_json:
        return write_json({"done": list(map(step_data, done)), "steps": list(map(step_data, left))})
    rows = [(step.authority, step.kind, step.place, step.why) for step in left]
    return write_table(COLUMNS, rows, whole=("step",)) if rows else None


def step_data(step: "PkiStep") -> dict[str, Any]:
    return {"authority": step.authority, "step": str(step.kind), "place": step.place, "why": step.why}


def insist_on_none_blocked(steps: "Sequence[PkiStep]") -> None:
    if blocked := [step for step in steps if step.kind == BLOCKED]:
        first = blocked[0]
        end_command(TerminalError("bring about", first.place, first.why, "Fix that, then plan again"), FAILED)
