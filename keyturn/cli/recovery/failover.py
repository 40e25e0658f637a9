"""``keyturn failover``: show which of two hubs is writable, and change it."""

from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import connected_hub, insist_on_hub, opened_workspace
from keyturn.cli.failures import EXIT_CODES, FAILED, end_command
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotWritable, TransientError, Unwitnessed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keyturn.providers.vault.hub import VaultHub
    from keyturn.recovery.failover import Handover, Pair, Side

COLUMNS: Final = ("hub", "epoch", "writable", "said by", "what it says")

EXAMPLES: Final = """\b
Examples:
  keyturn failover status
  keyturn failover demote
  keyturn failover promote --force

"""

CLOCKS_APART: Final = timedelta(minutes=10)
"""The largest difference of clocks. A clock that is years off would make an epoch number that stays wrong."""
UNTOLD: Final = "one was made from the other's snapshot, and this login may not wrap, which would tell them apart"

commands = typer.Typer(help="Two hubs, of which one is written at a time.", no_args_is_help=True)

ForceOption = Annotated[
    bool, typer.Option("--force", help="Take over also from a hub that can't be asked, or is written still.")
]


@commands.command("status", epilog=EXAMPLES + EXIT_CODES)
def show_hubs(as_json: JsonOption = False) -> None:
    """Show what each of the two hubs says. Changes nothing.

    Ends with 1 where this one may not be written, both would be, the other one can't be asked, or both addresses lead
    to one hub.
    """
    from keyturn.recovery.failover import one_hub, split, standing

    with opened_pair() as (pair, _):
        mine, theirs = pair.look()
        same_hub = None if theirs.error else pair.leads_to_one()
    why = standing(mine, theirs)
    if as_json:
        sides = [side_data(mine), side_data(theirs)]
        write_json({"hubs": sides, "writable": not why, "split": split(mine, theirs), "why": why, "one_hub": same_hub})
    else:
        write_table(COLUMNS, [side_row(mine), side_row(theirs)], whole=("epoch",))
    if same_hub:
        end_command(one_hub(theirs.name, f"{mine.name} and {theirs.name} are one hub"), FAILED)
    if same_hub is None and not theirs.error:
        note(f"could not check whether the addresses of {mine.name} and {theirs.name} reach the same hub: {UNTOLD}")
    if split(mine, theirs):
        hint = "Decide which one it is, and demote the other: keyturn failover demote"
        problem = "each of the two names itself: whatever can ask both writes to neither of equal epochs"
        end_command(NotWritable("write", f"{mine.name} and {theirs.name}", problem, hint), FAILED)
    if why:
        end_command(NotWritable("write", mine.name, why, "Work on the other hub, or: keyturn failover promote"), FAILED)
    if theirs.error:
        problem = f"it can't be asked which of the two is written: {theirs.error.problem}"
        hint = "Correct KEYTURN_PEER_* or fix the connection; if it is gone for good, see docs/disaster-recovery.md"
        end_command(Unwitnessed("ask", theirs.name, problem, hint), FAILED)


@commands.command("demote", epilog=EXAMPLES + EXIT_CODES)
def demote_hub(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Stop writing to the hub of VAULT_ADDR, so that the other one can take over. Safe to run again."""
    from keyturn.recovery.failover import demote

    with opened_pair() as (pair, hub):
        insist_on_two(pair)
        handover = demote(pair, actor_of(hub))
    record(catalogue, "demote hub", pair.own, handover)
    show_handover(handover, as_json=as_json)
    if not as_json and handover.epoch.writable == pair.other:
        note(f"bring {pair.other} up to date now, then run there: keyturn failover promote")


@commands.command("promote", epilog=EXAMPLES + EXIT_CODES)
def promote_hub(force: ForceOption = False, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Make the hub of VAULT_ADDR the one that is written. Safe to run again.

    Refused while the other one is written or can't be asked, unless you give --force. Writing starts once no write to
    the other one can be pending; the last line shows when.
    """
    from keyturn.recovery.failover import promote

    with opened_pair() as (pair, hub):
        if force:
            insist_on_clocks(pair.own, hub.now(), datetime.now(UTC))
        insist_on_two(pair)
        handover = promote(pair, actor_of(hub), hub.now(), force=force)
    record(catalogue, "promote hub", pair.own, handover)
    show_handover(handover, as_json=as_json)


def insist_on_two(pair: "Pair") -> None:
    """Raise Invalid if both addresses reach one hub; a hub that does not answer counts as another."""
    with suppress(TransientError, Denied):
        pair.insist_on_two()


def insist_on_clocks(name: str, hub_now: datetime, now: datetime) -> None:
    """Raise Invalid if the two clocks disagree, since a forced epoch's number is a time."""
    apart = abs(hub_now - now)
    if apart > CLOCKS_APART:
        problem = f"the hub's clock says {hub_now:%Y-%m-%d %H:%M} UTC, and this machine's {now:%Y-%m-%d %H:%M}"
        raise Invalid(
            "promote", name, f"{problem}; the epoch's number is made of it", "Set both right, then run it again"
        )


@contextmanager
def opened_pair() -> "Iterator[tuple[Pair, VaultHub]]":
    """Open both hubs of the environment. Raises Invalid if it names only one."""
    from keyturn.recovery.failover import pair_of
    from keyturn.settings.hub import HUB_NAME, PEER_ADDRESS, PEER_NAME, HubSettings

    insist_on_hub()
    with connected_hub(HubSettings.from_environment()) as hub:
        if (peer := hub.peer) is None:
            hint = f"Set {HUB_NAME}, {PEER_NAME} and {PEER_ADDRESS}"
            raise Invalid("find", "the other hub", "the environment names one hub alone", hint)
        yield pair_of(hub, peer), hub


def actor_of(hub: "VaultHub") -> str:
    """Return the login's identity in the hub; an error becomes part of the text."""
    try:
        return hub.identity().words
    except KeyturnError as error:
        return f"a login that the hub has not named ({error.problem})"


def record(catalogue: Any, action: str, name: str, handover: "Handover") -> None:
    """Record the handover in the ledger. If that fails, the hub's own entry still names the actor."""
    if handover.unchanged:
        return
    from keyturn.rotation.state.journal import record_action

    try:
        with opened_workspace(catalogue) as workspace, record_action(workspace, action, place=name) as doing:
            doing.note = f"epoch {handover.epoch.number}: {handover.epoch.writable} is written"
    except KeyturnError as error:
        note(f"not in the ledger: {error.text}")


def show_handover(handover: "Handover", *, as_json: bool) -> None:
    epoch = handover.epoch
    if as_json:
        written = {"epoch": epoch.number, "writable": epoch.writable, "wait_seconds": epoch.left}
        write_json({**written, "unchanged": handover.unchanged})
        return
    when = f" in {epoch.left:.0f} seconds" if epoch.left else ""
    note(f"epoch {epoch.number}: {epoch.writable} is written{when}{', as before' if handover.unchanged else ''}")


def side_row(side: "Side") -> tuple[str, str, str, str, str]:
    if side.error:
        return side.name, "-", "-", "-", f"can't be asked: {side.error.problem}"
    if side.epoch is None:
        return side.name, "-", "-", "-", "nothing"
    says = "it is written" if side.epoch.writable == side.name else f"{side.epoch.writable} is written"
    left = f" in {side.epoch.left:.0f} seconds" if side.epoch.left else ""
    return side.name, str(side.epoch.number), side.epoch.writable, side.epoch.by, says + left


def side_data(side: "Side") -> dict[str, Any]:
    epoch = side.epoch
    return {
        "hub": side.name,
        "epoch": epoch.number if epoch else None,
        "writable": epoch.writable if epoch else None,
        "by": epoch.by if epoch else "",
        "error": str(side.error) if side.error else "",
    }
