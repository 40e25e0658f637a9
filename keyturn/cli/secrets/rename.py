"""``keyturn repair rename`` and ``forget``, for a secret whose catalogue entry was renamed or removed."""

from typing import Annotated, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import BEHIND, end_command
from keyturn.cli.options import CatalogueOption, JsonOption, YesOption, insist_on_terminal
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.errors import TransientError

COLUMNS: Final = ("what", "name", "state")

OldArgument = Annotated[
    str, typer.Argument(metavar="OLD", help="The name that the catalogue had, such as ml-training/db.")
]
NewArgument = Annotated[str, typer.Argument(metavar="NEW", help="The name that it has now.")]
PathArgument = Annotated[str, typer.Argument(metavar="PATH", help="The secret whose record is given up.")]
EndPrevious = Annotated[
    bool, typer.Option("--end-previous", help="End the old credential first, even if it is in use, where possible.")
]


def rename(old: OldArgument, new: NewArgument, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Move a secret to the new name that the catalogue gives it.

    Its versions in the hub, its rotations and its copies move with it, so an open rotation continues. Safe to run
    again.
    """
    from keyturn.rotation.report import copy_data

    with opened_workspace(catalogue) as workspace:
        from keyturn.rotation.repair.rename import rename as carry_over

        done = carry_over(workspace, old, new)
    copies = [copy_data(copy) for copy in done.copies]
    if as_json:
        write_json({"old": old, "new": new, "version": done.version, "copies": copies})
    else:
        rows: list[tuple[object, ...]] = [("secret", new, f"version {done.version}")]
        write_table(COLUMNS, [*rows, *(("copy", f"{copy.store}:{copy.name}", copy.state) for copy in done.copies)])
    note(f"{old} stays in the hub for remaining readers; remove it there once it has none")
    if behind := [f"{copy.store}:{copy.name} ({copy.error or copy.state})" for copy in done.copies if not copy.in_step]:
        problem, hint = f"not in sync: {', '.join(behind)}", "Fix the cause and run it again: it does the rest"
        end_command(TransientError("rename", old, problem, hint), BEHIND)


def forget(
    path: PathArgument,
    end_previous: EndPrevious = False,
    yes: YesOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give up what the hub knows of a secret's rotations, and say what that leaves behind.

    The secret itself and its copies stay as they are. On a terminal it asks; a script says --yes.
    """
    insist_on_terminal(yes)
    with opened_workspace(catalogue) as workspace:
        from keyturn.rotation.repair.forget import forget as give_up
        from keyturn.rotation.repair.forget import remains

        left = remains(workspace, path)
        if not yes:
            note(f"{path}: {left}")
            typer.confirm("Give it up?", abort=True, err=True)
        done = give_up(workspace, path, end_previous=end_previous)
    if as_json:
        write_json({"path": path, "left": done.left, "ended": done.ended, "why": done.why})
    for line in (
        f"{path} is given up" + (f", and left behind: {done.left}" if done.left else ""),
        f"ended {done.ended}" if done.ended else "",
        f"not ended: {done.why}" if done.why else "",
    ):
        if line:
            note(line)
