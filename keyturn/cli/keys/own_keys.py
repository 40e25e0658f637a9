"""``keyturn keys rotate-own``: the next step of each of Keyturn's own keys, and their rows in ``keyturn due``."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.keys.key_rotations import LATE, TIMEOUT, KeyTurning, TurnedKeys
from keyturn.cli.options import CatalogueOption, JsonOption, LocalOption, TimeoutOption, WorkspaceOption
from keyturn.cli.output import note, write_table
from keyturn.core.workspaces import DEFAULT

if TYPE_CHECKING:
    from keyturn.core.own_keys import OwnKey
    from keyturn.rotation.state.context import Workspace

TURNING: Final = KeyTurning(
    "rotate-own-keys",
    "own_keys",
    "replace",
    "Keyturn's own keys",
    "own key",
    "none of Keyturn's own keys was due",
)
BY_HAND: Final = "replaced by hand"
"""The value of :class:`keyturn.core.own_keys.KeyState`, which the help does not import."""
DUE_COLUMNS: Final = ("own key", "next (UTC)", "why")

NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="One key, such as webhooks/trainer; without it, all of them.")
]
NowOption = Annotated[bool, typer.Option("--now", help="Due or not, and without the time of grace.")]


def rotate_own_keys(
    name: NameArgument = None,
    now: NowOption = False,
    local: LocalOption = False,
    catalogue: CatalogueOption = None,
    timeout: TimeoutOption = TIMEOUT,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Replace the keys that Keyturn itself uses, one step at a time.

    The schedule does this by itself. During a replacement both keys are valid, and the old one is removed once the new
    one has been accepted. `keyturn due` shows the state of each.
    """
    TURNING.tell(
        turn_here(name, now, catalogue) if local else TURNING.through_prefect(name, now, timeout, workspace), as_json
    )


def turn_here(name: str | None, now: bool, catalogue: Path | None) -> TurnedKeys:
    with opened_workspace(catalogue) as workspace:
        from keyturn.core.own_keys import turn_data
        from keyturn.keys.own_keys import turn_own_keys

        note("running in this process, without Prefect")
        return [turn_data(*result) for result in turn_own_keys(workspace, name, forced=now).items()]


def own_keys_of(workspace: "Workspace") -> "list[OwnKey]":
    """List all own keys, the next due first."""
    from keyturn.keys.own_keys import own_keys

    now = workspace.clock()
    return sorted(own_keys(workspace), key=lambda key: (key.due_at is None, key.due_at or now, key.name))


def tell_own_keys(keys: "Sequence[OwnKey]", now: datetime) -> None:
    if keys:
        write_table(DUE_COLUMNS, (row_of(key, now) for key in keys), whole=("next (UTC)",))


def row_of(key: "OwnKey", now: datetime) -> tuple[str, str, str]:
    moment = "now" if key.due(now) else f"{key.due_at:%Y-%m-%d %H:%M}" if key.due_at else "-"
    since = f"{key.state} since {key.since:%Y-%m-%d %H:%M} UTC" if key.since else str(key.state)
    if key.since and key.state == BY_HAND:
        since = f"made {key.since:%Y-%m-%d %H:%M} UTC, {key.state}"
    late = [f"LATE: it was due {key.due_at:%Y-%m-%d %H:%M} UTC"] if key.due_at and is_late(key, now) else []
    blocked = [key.blocked] if key.blocked else []
    return key.name, moment, "\n".join([*late, f"{key.what}, {since}", *blocked])


def is_late(key: "OwnKey", now: datetime) -> bool:
    """Whether its next step is overdue by more than the schedule explains."""
    return key.due(now - LATE)
