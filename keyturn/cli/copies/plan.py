"""``keyturn plan`` and ``apply``: show what would be done to each copy, and do exactly that."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keyturn.cli.emergencies.wake import wake_keeper
from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED, end_command, naming_file
from keyturn.cli.interruption import continues_later
from keyturn.cli.options import CatalogueOption, DeepOption, JsonOption, Layout, OutputOption, Patterns, layout_of
from keyturn.cli.output import note, write_json, write_names, write_table
from keyturn.core.errors import Denied, Invalid, TerminalError, TransientError
from keyturn.core.workspaces import WorkspaceNames

if TYPE_CHECKING:
    from keyturn.cli.copies.planned import Applied
    from keyturn.core.plan import Plan
    from keyturn.rotation.state.context import Workspace

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Keep the plan, for `keyturn apply FILE`; names only, mode 0600."),
]
AllOption = Annotated[bool, typer.Option("--all", help="Show the copies in sync too; else they are only counted.")]
AutoOption = Annotated[
    bool, typer.Option("--auto", help="Plan and apply in one step without review; PATHs may follow.")
]
Given = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE|PATH", help="A plan's file; with --auto, secrets or patterns; without, all."),
]


def plan(
    paths: Patterns = None,
    out: OutOption = None,
    deep: DeepOption = False,
    everything: AllOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Layout.TABLE,
) -> None:
    """Show what would be done to every copy. Nothing is written to hub or stores.

    Ends with 0 whether or not there is something to do, and with 1 where a copy is blocked or in conflict.
    """
    from keyturn.cli.copies.planned import COLUMNS, plan_data, plan_rows, summarize_plan

    layout = layout_of(output, as_json)
    with opened_workspace(catalogue, looking=True) as workspace:
        planned = make_plan(workspace, paths or [], deep)
        if out:
            save_plan(workspace, planned, out)
        sharing = "" if paths else same_id(workspace)
    shown = [item for item in planned.items if everything or item.action != "in sync"]
    if layout is Layout.NAME:
        write_names(item.label for item in shown)
    elif layout is Layout.JSON:
        write_json(plan_data(planned, shown, out))
    elif shown:
        write_table(COLUMNS, plan_rows(shown), whole=("action", "versions", "fingerprint"))
    note(summarize_plan(planned))
    for remark in (*planned.remarks, *filter(None, [sharing])):
        note(remark)
    if out:
        note(f"kept in {out}; apply exactly this with: keyturn apply {out}")
    insist_on_no_trouble(planned)


def same_id(workspace: "Workspace") -> str:
    """The warning if another catalogue on this hub seems to have the same id; empty if none does."""
    from keyturn.core.errors import KeyturnError
    from keyturn.rotation.repair.removed_entries import SAME_ID_REMEDY, of_same_id, same_id_words

    try:
        others = of_same_id(workspace)
    except KeyturnError as error:
        return f"unknown whether another catalogue on this hub has this one's id: {error.text}"
    return f"{same_id_words(workspace.catalogue.id, others)}. {SAME_ID_REMEDY}" if others else ""


def make_plan(workspace: "Workspace", paths: list[str], deep: bool, *, unseen: bool = False) -> "Plan":
    """The plan of these secrets, or of all; ``unseen`` if it is applied without review."""
    from keyturn.sync import plan as planning

    return planning.plan(workspace, paths, deep=deep, unseen=unseen)


def save_plan(workspace: "Workspace", planned: "Plan", file: Path) -> None:
    """Write the plan to ``file`` with mode 0600, signed with this hub's key."""
    from keyturn.catalogue.files.append import write_file
    from keyturn.core.plan import write_plan

    try:
        key = workspace.fingerprint_keys.current.key
    except Denied:
        problem = "this login may not read the key that signs a plan's file"
        hint = "Look at the plan without --out, or keep it with the login that will apply it"
        raise Denied("keep the plan in", str(file), problem, hint) from None
    with naming_file(file):
        write_file(file, write_plan(planned, key), mode=0o600)


def insist_on_no_trouble(planned: "Plan") -> None:
    """Exit with 1 if applying the plan leaves a copy out of sync."""
    if trouble := planned.trouble:
        first = trouble[0]
        name = first.label if len(trouble) == 1 else f"{len(trouble)} of {len(planned.items)} copies"
        others = len(trouble) < len(planned.items)
        remedy = "Fix the cause; the others can still be applied" if others else "Fix the cause"
        end_command(
            TerminalError("plan", name, f"{first.action}: {first.label} of {first.path}: {first.why}", remedy), FAILED
        )


def apply(
    arguments: Given = None,
    auto: AutoOption = False,
    deep: DeepOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply exactly a plan, or nothing if something has changed since.

    With --auto, plan and apply in one. Ends with 1 if a copy is not in sync afterwards.
    """
    file = plan_file(arguments or [], auto)
    with opened_workspace(catalogue) as workspace:
        from keyturn.cli.copies.planned import Applied
        from keyturn.cli.running.progress import apply_plan, notify_consumers

        planned = (
            make_plan(workspace, arguments or [], deep, unseen=True) if file is None else load_plan(workspace, file)
        )
        names = WorkspaceNames.from_environment(os.environ)
        with continues_later("the next sync or apply pushes what is left", partial(wake_keeper, names.name)):
            results = apply_plan(workspace, planned)
            notices = notify_consumers(workspace, planned, results)
        done = Applied.after(workspace, planned, results, notices)
    show_applied(done, as_json)


def plan_file(arguments: list[str], auto: bool) -> Path | None:
    """The plan's file; None with --auto. Reports wrong usage if the arguments are ambiguous."""
    if not auto and len(arguments) != 1:
        raise typer.BadParameter("give the FILE of one plan, or --auto to plan and apply in one")
    if auto and any(Path(argument).is_file() for argument in arguments):
        raise typer.BadParameter("give the FILE of a plan, or --auto with secrets, not both")
    return None if auto else Path(arguments[0])


def load_plan(workspace: "Workspace", file: Path) -> "Plan":
    """The plan in ``file``, checked against the current state. Raises Invalid, or Conflict if it changed."""
    from keyturn.core.plan import read_plan
    from keyturn.sync.run import insist_on

    try:
        text = file.read_text()
    except UnicodeDecodeError:
        raise Invalid("read", str(file), "it is not a plan", "Make a new one with: keyturn plan --out FILE") from None
    keys = workspace.fingerprint_keys
    return insist_on(workspace, read_plan(text, keys.current.key, str(file), keys.former))


def show_applied(done: "Applied", as_json: bool) -> None:
    """Show what was done, failed and waits, then exit with the matching code."""
    from keyturn.cli.copies.planned import APPLIED_COLUMNS
    from keyturn.sync.notices import unheard

    rows: list[tuple[Any, ...]] = list(done.rows())
    if as_json:
        write_json(done.to_data())
    elif rows:
        write_table(APPLIED_COLUMNS, rows, whole=("state",))
    for line in done.details():
        note(line)
    if done.failing:
        label, first = next(iter(done.failing.items()))
        name = label if len(done.failing) == 1 else f"{len(done.failing)} of {len(done.planned.items)} copies"
        remedy = "Fix the cause and apply again: it does only what is left"
        end_command(TransientError("apply", name, first.error, remedy), FAILED)
    if silent := unheard(done.notices):
        end_command(silent, FAILED)
