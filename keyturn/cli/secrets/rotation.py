"""``keyturn rotate``, ``sync`` and ``retire``: through Prefect, or in this process with --local."""

import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.emergencies.wake import wake_keeper
from keyturn.cli.environment import load_catalogue, opened_workspace, stack_in_use
from keyturn.cli.failures import BEHIND, HELD, end_command
from keyturn.cli.interruption import continues_later
from keyturn.cli.options import (
    BreakGlassOption,
    CatalogueOption,
    DeepOption,
    JsonOption,
    LocalOption,
    OptionalPath,
    OptionalPattern,
    OverLimitOption,
    PathArgument,
    TimeoutOption,
    WorkspaceOption,
    insist_on_terminal,
)
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.actor import going_past_rules
from keyturn.core.errors import Invalid, KeyturnError, Locked
from keyturn.core.workspaces import DEFAULT, WorkspaceNames

if TYPE_CHECKING:
    from keyturn.catalogue import Secret
    from keyturn.cli.emergencies.reports import Copies, Retirements
    from keyturn.cli.running.watch import Run
    from keyturn.core.overrides import Waive
    from keyturn.core.schedule.due import Trigger
    from keyturn.rotation.outcome import Outcome
    from keyturn.rotation.state.context import Workspace

TIMEOUT: Final = 600
SIDE_BY_SIDE: Final = 8

NowOption = Annotated[
    bool,
    typer.Option("--now", help="Rotate now, due or not. What is in use still holds it, and is named."),
]
EndPreviousOption = Annotated[
    bool,
    typer.Option(
        "--end-previous", help="With --now: end the credential before the last rotation, even if it is in use."
    ),
]
FromOption = Annotated[
    int | None,
    typer.Option("--from", metavar="VERSION", help="Where CURRENT is deleted: rotate over this version's fields."),
]
ChangeAccountOption = Annotated[
    bool,
    typer.Option("--change-account", help="With --now: to the account and fields that the catalogue declares now."),
]
YesToEndOption = Annotated[bool, typer.Option("--yes", help="Don't ask before ending a credential that may be in use.")]
CompromisedOption = Annotated[
    bool, typer.Option("--compromised", help="Others may know it: like --now, and what is old ends without a grace.")
]
EarlyOption = Annotated[bool, typer.Option("--early", help="Waive the grace; copies and consumers are still asked.")]
WaiveOption = Annotated[bool, typer.Option("--force", help="Waive everything, for one PATH; the history says so.")]


def rotate(
    path: PathArgument,
    now: NowOption = False,
    compromised: CompromisedOption = False,
    end_previous: EndPreviousOption = False,
    ground: FromOption = None,
    change_account: ChangeAccountOption = False,
    yes: YesToEndOption = False,
    local: LocalOption = False,
    catalogue: CatalogueOption = None,
    timeout: TimeoutOption = TIMEOUT,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = DEFAULT,
    over_limit: OverLimitOption = "",
    break_glass: BreakGlassOption = "",
) -> None:
    """Replace one secret everywhere.

    Then pushes every copy and notifies every consumer. Safe to run again: it continues where it stopped. If the
    previous credential may still be in use, nothing is done, and whatever holds it is listed. If CURRENT was deleted,
    nothing is done unless --from names the version to start from.
    """
    chosen_trigger = trigger(
        now or (ground is not None and not compromised), compromised, end_previous or change_account
    )
    insist_on_own_word(local, over_limit, break_glass)
    if end_previous and not yes:
        confirm_end(path, catalogue)
    parameters: dict[str, Any] = {"path": path, "trigger": chosen_trigger}
    parameters |= {"end_previous": end_previous, "ground": ground, "change_account": change_account}
    if local:
        with going_past_rules(over_limit, break_glass):
            return show_outcome(rotate_here(parameters, catalogue, workspace), None, as_json)
    if ground is not None:
        insist_on_ground(path, ground, catalogue)
    run = run_through_prefect("rotate-secret", parameters, catalogue, timeout, workspace)

    from keyturn.cli.emergencies.reports import outcome_of

    if not run.completed and run.result is None and (run.did("promote") or run.did("conclude")):
        end_command(run.error("rotate", path), BEHIND)
    return show_outcome(outcome_of(path, run), run, as_json)


def insist_on_ground(path: str, version: int, catalogue: Path | None) -> None:
    """Raise at once if --from is not acceptable. If no login here may read the secret, the worker reports it."""
    from keyturn.rotation.repair.missing_current import insist_on_choice
    from keyturn.rotation.state.record_store import load_record

    try:
        with opened_workspace(catalogue) as opened:
            secret = opened.secret(path).path
            info, record = opened.hub.describe(secret), load_record(opened, secret)
    except KeyturnError:
        return
    insist_on_choice(secret, info, record, version)


def insist_on_own_word(local: bool, *reasons: str) -> None:
    """Raise BadParameter if a rule is overridden without --local, since the override needs the person's own login."""
    if any(reasons) and not local:
        raise typer.BadParameter("--over-limit and --break-glass go with --local: it is your own login that does it")


def trigger(now: bool, compromised: bool, end_previous: bool = False) -> "Trigger":
    """Return the rotation's trigger. Raises BadParameter for contradictory options, and for an end without --now."""
    from keyturn.core.schedule.due import Trigger

    if now and compromised:
        raise typer.BadParameter("give --now or --compromised, not both")
    if end_previous and not now:
        raise typer.BadParameter("--end-previous and --change-account go with --now")
    return Trigger.COMPROMISE if compromised else Trigger.FORCE if now else Trigger.SCHEDULE


def confirm_end(path: str, catalogue: Path | None) -> None:
    """Show which users lose access when the credential before CURRENT ends, and ask. Ends with 1 on no."""
    insist_on_terminal(answered=False)
    with opened_workspace(catalogue) as workspace:
        from keyturn.rotation.retire import on_it

        waiting = on_it(workspace, workspace.secret(path).path)
    if waiting is None:
        return note("no old credential is waiting to end: nothing is cut off")
    note(f"this ends the credential before version {waiting.version} ({waiting.names or 'without a name'})")
    for line in waiting.held_by or (waiting.left or "nothing shows that anybody needs it",):
        note(f"  {line}")
    typer.confirm("End it?", abort=True, err=True)
    return None


def rotate_here(parameters: "dict[str, Any]", catalogue: Path | None, names: str) -> "Outcome":
    with opened_workspace(catalogue) as workspace:
        from keyturn.rotation import run

        note_local()
        path = parameters["path"]
        insist_on_strategy(workspace.secret(path))
        rest = f"the schedule finishes a rotation that was begun; at once: keyturn rotate {path}"
        with continues_later(rest, partial(wake_keeper, names)):
            return run.rotate(workspace, **parameters)


def show_outcome(outcome: "Outcome", run: "Run | None", as_json: bool) -> None:
    from keyturn.cli.emergencies import reports
    from keyturn.rotation.outcome import RunState, unsettled
    from keyturn.rotation.report import outcome_data

    if as_json:
        write_json({**outcome_data(outcome), "run": run.to_data() if run else None})
    else:
        write_table(reports.ROTATION_COLUMNS, reports.outcome_rows(outcome))
    for line in filter(None, (outcome.message, outcome.previous)):
        note(line)
    if outcome.state is RunState.HELD:
        end_command(
            Locked("rotate", outcome.path, "another run holds it", "See `keyturn status`; that run continues"), HELD
        )
    if error := unsettled(outcome):
        end_command(error, BEHIND)


def sync(
    path: OptionalPattern = None,
    deep: DeepOption = False,
    local: LocalOption = False,
    catalogue: CatalogueOption = None,
    timeout: TimeoutOption = TIMEOUT,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Bring every copy in sync with the hub.

    Copies that are in sync are not written. `keyturn plan` shows in advance what this does.
    """
    run = None if local else run_through_prefect("sync", {"path": path, "deep": deep}, catalogue, timeout, workspace)

    from keyturn.cli.emergencies.reports import COPY_COLUMNS, Copies

    report = Copies.of(run) if run else sync_here(path, deep, catalogue, workspace)
    show_report(report, COPY_COLUMNS, as_json, report.summary() or "there is no copy to sync")


def sync_here(path: str | None, deep: bool, catalogue: Path | None, names: str) -> "Copies":
    with opened_workspace(catalogue) as workspace:
        from keyturn.cli.emergencies.reports import Copies
        from keyturn.cli.running.progress import apply_plan, notify_consumers
        from keyturn.sync.plan import plan
        from keyturn.sync.report import SyncReport

        note_local()
        planned = plan(workspace, [path] if path else [], deep=deep, unseen=True)
        for remark in planned.remarks:
            note(remark)
        with continues_later("the next sync pushes what is left", partial(wake_keeper, names)):
            results = apply_plan(workspace, planned)
            notices = notify_consumers(workspace, planned, results)
        return Copies(SyncReport.after(planned, results, notices))


def retire(
    path: OptionalPath = None,
    early: EarlyOption = False,
    force: WaiveOption = False,
    yes: YesToEndOption = False,
    local: LocalOption = False,
    catalogue: CatalogueOption = None,
    timeout: TimeoutOption = TIMEOUT,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = DEFAULT,
    break_glass: BreakGlassOption = "",
) -> None:
    """End old credentials that are no longer needed.

    Ends a credential once its grace period is over, its copies are in sync and its consumers have confirmed. The others
    are kept, with the reason. --force lists the users that it cuts off, and asks in a terminal.
    """
    insist_on_own_word(local, break_glass)
    waive = waived(path, early, force)
    if path and force and not yes and sys.stdin.isatty():
        confirm_end(path, catalogue)
    parameters = {"path": path, "waive": waive}
    run = None if local else run_through_prefect("retire", parameters, catalogue, timeout, workspace)

    from keyturn.cli.emergencies.reports import RETIREMENT_COLUMNS, Retirements

    if run:
        report = Retirements.of(run)
    else:
        with going_past_rules(break_glass=break_glass):
            report = retire_here(path, waive, catalogue, workspace)
    show_report(report, RETIREMENT_COLUMNS, as_json, "there is no old credential to retire")


def waived(path: str | None, early: bool, force: bool) -> "Waive":
    """Return what to waive. Raises BadParameter for both options, or for --force without a path."""
    from keyturn.core.overrides import Waive

    if early and force:
        raise typer.BadParameter("give --early or --force, not both")
    if force and path is None:
        raise typer.BadParameter("--force waives everything: name the one secret that it is meant for")
    return Waive.EVERYTHING if force else Waive.GRACE if early else Waive.NOTHING


def retire_here(path: str | None, waive: "Waive", catalogue: Path | None, names: str) -> "Retirements":
    from keyturn.cli.emergencies.reports import Retirements
    from keyturn.rotation.report import OldCredential
    from keyturn.rotation.retire import retire
    from keyturn.rotation.state.context import side_by_side

    def one(secret: str) -> OldCredential | None:
        try:
            retirement = retire(workspace, secret, waive)
            return OldCredential.of(secret, retirement) if retirement.version is not None else None
        except KeyturnError as error:
            return OldCredential.of(secret, error)

    with opened_workspace(catalogue) as workspace:
        paths = ready(workspace, path)
        with continues_later("an end that was begun is finished by the next retire", partial(wake_keeper, names)):
            return Retirements(tuple(old for old in side_by_side(one, paths, SIDE_BY_SIDE) if old))


def show_report(report: "Copies | Retirements", columns: tuple[str, ...], as_json: bool, none: str) -> None:
    rows = list(report.rows())
    if as_json:
        write_json(report.to_data())
    elif rows:
        write_table(columns, rows)
    else:
        note(none)
    for line in report.details():
        note(line)
    if failure := report.failure():
        end_command(*failure)


def ready(workspace: "Workspace", path: str | None) -> list[str]:
    """Return the requested secret, or all of them. An unreachable hub is reported here once. Raises NotFound."""
    paths = [workspace.secret(path).path] if path else sorted(workspace.catalogue.secrets)
    note_local()
    workspace.hub.fingerprint_keys()
    return paths


def run_through_prefect(
    flow: str, parameters: dict[str, Any], catalogue: Path | None, timeout: float, workspace: str
) -> "Run":
    """Run a flow's deployment and wait. Raises NotFound for a path that the local catalogue does not declare."""
    stack_in_use()
    if path := parameters["path"]:
        insist_on_declared(path, catalogue, rotates="trigger" in parameters)

    from keyturn.cli.running.watch import run_deployment

    meanwhile = partial(import_module, "keyturn.cli.emergencies.reports")
    return run_deployment(flow, parameters, timeout, WorkspaceNames(workspace), meanwhile=meanwhile)


def insist_on_declared(path: str, catalogue: Path | None, *, rotates: bool) -> None:
    """Raise an error for an undeclared path. Without a readable catalogue, the worker raises it.

    A pattern is not checked, as it may match secrets that only the hub knows.
    """
    try:
        declared = load_catalogue(catalogue)
    except Invalid:
        return
    if rotates:
        insist_on_strategy(declared.secret(path))
    elif "*" not in path and not declared.destinations(path):
        declared.secret(path)


def insist_on_strategy(secret: "Secret") -> None:
    """Raise UnsupportedOperation for a manually rotated secret, before anything is recorded."""
    from keyturn.strategies.manual import ManualSettings, refusal_of_manual

    if isinstance(secret.rotation, ManualSettings):
        raise refusal_of_manual(secret.path)


def note_local() -> None:
    note("running in this process, without Prefect")
