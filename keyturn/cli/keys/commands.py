"""``keyturn keys``: keys of other engines that the catalogue manages, and their lines in status and due."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import EXIT_CODES, FAILED, end_command
from keyturn.cli.keys.key_rotations import LATE, TIMEOUT, KeyTurning, TurnedKeys
from keyturn.cli.keys.own_keys import rotate_own_keys
from keyturn.cli.options import CatalogueOption, JsonOption, LocalOption, TimeoutOption, WorkspaceOption
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.core.errors import Invalid
from keyturn.core.workspaces import DEFAULT

if TYPE_CHECKING:
    from keyturn.keys.managed_keys import KeyStatus
    from keyturn.rotation.state.context import Workspace

TURNING: Final = KeyTurning("rotate-keys", "keys", "rotate", "the managed keys", "key", "no key was due")
COLUMNS: Final = ("key", "state", "next (UTC)", "what else")

EXAMPLES: Final = """\b
Examples:
  keyturn keys list
  keyturn keys show model-weights
  keyturn keys rotate model-weights --now
  keyturn keys rotate-own webhooks/trainer --now

"""

commands = typer.Typer(help="Rotate keys of other engines: a KMS, the hub's transit engine.", no_args_is_help=True)

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="The key's name in the catalogue.")]
OptionalKey = Annotated[str | None, typer.Argument(metavar="NAME", help="One key; without it, all of them.")]
NowOption = Annotated[bool, typer.Option("--now", help="Due or not.")]


@commands.command("list", epilog=EXAMPLES + EXIT_CODES)
def list_keys(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Show the state of every managed key, and when it is rotated next."""
    with opened_workspace(catalogue) as workspace:
        statuses, now = keys_of(workspace), workspace.hub_now()
    if as_json:
        write_json({"keys": [status.to_data() for status in statuses]})
    elif statuses:
        tell_keys(statuses, now)
    else:
        note("the catalogue declares no keys")


@commands.command("show", epilog=EXAMPLES + EXIT_CODES)
def show_key(name: KeyName, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Show one managed key: its generation, where it is kept, and what is to be done.

    Ends with 1 if something is wrong with it, or it could not be checked.
    """
    with opened_workspace(catalogue) as workspace:
        from keyturn.keys.managed_keys import key_statuses

        (status,), now = key_statuses(workspace, name), workspace.hub_now()
    if as_json:
        write_json(status.to_data())
    else:
        write_text("\n".join(key_lines(status, now)))
    insist_on_sound([status], now)


@commands.command("rotate", epilog=EXAMPLES + EXIT_CODES)
def rotate(
    name: OptionalKey = None,
    now: NowOption = False,
    local: LocalOption = False,
    catalogue: CatalogueOption = None,
    timeout: TimeoutOption = TIMEOUT,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Rotate the keys that are due, and bring them to what is declared; with --now, due or not.

    The schedule does this by itself. Safe to run again: a finished rotation is not repeated.
    """
    if now and name is None:
        raise typer.BadParameter("--now goes with the NAME of one key")
    TURNING.tell(
        rotate_here(name, now, catalogue) if local else TURNING.through_prefect(name, now, timeout, workspace), as_json
    )


commands.command("rotate-own", epilog=EXAMPLES + EXIT_CODES)(rotate_own_keys)


@commands.command("end", epilog=EXIT_CODES)
def end(
    name: KeyName,
    window: Annotated[str, typer.Option("--window", metavar="TTL", help="How long it may still be kept.")] = "30d",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Schedule a key's deletion at its engine. Data that it has encrypted is lost then.

    The key can't be used from now on; `keyturn keys keep` cancels the deletion. You need your own rights at the engine,
    which no rendered policy gives.
    """
    from keyturn.keys.key_deletion import end_key
    from keyturn.settings.durations import parse

    try:
        length = parse(window)
    except ValueError as error:
        raise Invalid("end", name, f"--window {error}", "Write 30d") from None
    if not yes and not sys.stdin.isatty():
        raise Invalid("end", name, "there is no terminal to confirm it in", "Give --yes")
    with opened_workspace(catalogue) as workspace:
        if not yes:
            typer.confirm(f"What {name} has encrypted is lost once it is deleted. Go on?", abort=True, err=True)
        at = end_key(workspace, name, length)
    if as_json:
        write_json({"name": name, "ends_at": at.isoformat()})
    else:
        write_text(f"{name} is to be deleted {at:%Y-%m-%d %H:%M} UTC; until then: keyturn keys keep {name}")


@commands.command("keep", epilog=EXIT_CODES)
def keep(name: KeyName, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Cancel a key's deletion, and allow its use again."""
    from keyturn.keys.key_deletion import keep_key

    with opened_workspace(catalogue) as workspace:
        changed = keep_key(workspace, name)
    if as_json:
        write_json({"name": name, "changed": changed})
    else:
        write_text(f"{name} is kept" if changed else f"{name} was not to be deleted")


def rotate_here(name: str | None, now: bool, catalogue: Path | None) -> TurnedKeys:
    with opened_workspace(catalogue) as workspace:
        from keyturn.core.own_keys import turn_data
        from keyturn.keys.managed_keys import rotate_keys

        note("running in this process, without Prefect")
        return [turn_data(*result) for result in rotate_keys(workspace, name, forced=now).items()]


def keys_of(workspace: "Workspace") -> "list[KeyStatus]":
    """List all managed keys, the next due first. Imports the adapters only if the catalogue has keys."""
    if not workspace.catalogue.keys:
        return []
    from keyturn.keys.managed_keys import key_statuses

    now = workspace.hub_now()
    return sorted(key_statuses(workspace), key=lambda key: (not key.error, key.due_at is None, key.due_at or now))


def tell_keys(statuses: "Sequence[KeyStatus]", now: datetime) -> None:
    if statuses:
        write_table(COLUMNS, (key_row(status, now) for status in statuses), whole=("next (UTC)",))


def key_row(status: "KeyStatus", now: datetime) -> tuple[str, str, str, str]:
    return (
        f"{status.name}\n{status.place}",
        "\n".join(standing_lines(status)),
        moment_of(status, now),
        remarks_of(status, now),
    )


def standing_lines(status: "KeyStatus") -> list[str]:
    if not status.facts or not status.facts.generation:
        return [str(status.standing)]
    since = f" since {status.facts.made_at:%Y-%m-%d}" if status.facts.made_at else ""
    return [str(status.standing), f"generation {status.facts.generation[:8]}{since}"]


def moment_of(status: "KeyStatus", now: datetime) -> str:
    if status.due_at is None:
        return "-"
    return "now" if status.due_at <= now else f"{status.due_at:%Y-%m-%d %H:%M}"


def remarks_of(status: "KeyStatus", now: datetime) -> str:
    late = (
        [f"LATE: it was due {status.due_at:%Y-%m-%d %H:%M} UTC"] if status.due_at and is_key_late(status, now) else []
    )
    return "\n".join([*([f"ALARM: {status.error}"] if status.error else []), *late, *status.left]) or "-"


def key_lines(status: "KeyStatus", now: datetime) -> list[str]:
    kept_in = [f"kept in   {status.facts.kept_in}"] if status.facts else []
    owner = [f"owner     {status.owner}"] if status.owner else []
    lines = [f"key       {status.name}", f"place     {status.place}", f"state     {', '.join(standing_lines(status))}"]
    return [*lines, *owner, *kept_in, f"next      {moment_of(status, now)}", f"what else {remarks_of(status, now)}"]


def is_key_late(status: "KeyStatus", now: datetime) -> bool:
    """Whether its rotation is overdue by more than the schedule explains."""
    return status.due_at is not None and status.due_at <= now - LATE


def insist_on_sound(statuses: "Sequence[KeyStatus]", now: datetime) -> None:
    """Exit with 1 if a key has an error, could not be checked, or is late."""
    wrong = [status for status in statuses if status.error or is_key_late(status, now)]
    if wrong:
        from keyturn.core.errors import TerminalError

        problem = wrong[0].error or f"it has been due since {wrong[0].due_at:%Y-%m-%d %H:%M} UTC"
        remedy = "See `keyturn keys list` and the runs of rotate-keys"
        end_command(TerminalError("check", wrong[0].name, problem, remedy), FAILED)
