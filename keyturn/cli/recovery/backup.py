"""``keyturn backup``: make, list, verify and prune backups of the hub."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import catalogue_directory, opened_workspace
from keyturn.cli.failures import EXIT_CODES, FAILED, end_command
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, stamp, when, write_json, write_table
from keyturn.core.errors import Invalid, KeyturnError, TerminalError

if TYPE_CHECKING:
    from keyturn.catalogue.operator.backups import BackupSettings
    from keyturn.core.ports.backups import BackupKeys, BackupPlace, Manifest
    from keyturn.recovery.chains import ChainCheck, StoredChain
    from keyturn.recovery.pruning import Pruning

commands = typer.Typer(help="Backups of the hub, its ledger and the catalogue.", no_args_is_help=True)

EXAMPLES: Final = """\b
Examples:
  keyturn backup run
  keyturn backup list
  keyturn backup verify --key x25519:/media/usb/recovery.pem
  keyturn backup prune
  keyturn backup restore --apply --key x25519:/media/usb/recovery.pem
  keyturn backup restore 20261128T190501Z-ab12cd34/17 --apply --files ./restored
  keyturn backup drill --json

"""
COLUMNS: Final = ("chain", "backups", "newest (UTC)", "size", "locked until (UTC)")
CHECK_COLUMNS: Final = ("chain", "backups", "entries", "reaches to (UTC)", "state")
MEGABYTE: Final = 1 << 20

KeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="A key that opens backups, such as x25519:FILE; without it those of the operator's file. May be repeated.",
    ),
]
ChainArgument = Annotated[str | None, typer.Argument(metavar="CHAIN", help="One chain; without it, all of them.")]
RecordOption = Annotated[
    bool, typer.Option("--record", help="Record it in the ledger; needs the catalogue, and a login to the hub.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")]


@commands.command("run", epilog=EXAMPLES + EXIT_CODES)
def run_backup(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Back everything up now: a new base, in the place that the operator's file names.

    `keyturn serve` makes increments on a base of its own all the time; see docs/disaster-recovery.md.
    """
    with opened_workspace(catalogue) as workspace:
        from keyturn.wiring.backups import declared_backups, make_recorded_base

        settings = declared_backups(workspace.catalogue.policy.backups)
        manifest = make_recorded_base(workspace, settings, catalogue_directory(catalogue))
    if as_json:
        write_json(manifest_data(manifest))
    tell_made(manifest)


def tell_made(manifest: "Manifest") -> None:
    """Report what a backup contains and lacks."""
    counts = ", ".join(f"{count} {what}" for what, count in sorted(manifest.counts.items()) if what != "all")
    note(f"{manifest.name}: {counts}, as of {when(manifest.begun_at)} UTC")
    for line in manifest.missing:
        note(f"not in the backup: {line}")


@commands.command("list", epilog=EXAMPLES + EXIT_CODES)
def list_backups(as_json: JsonOption = False) -> None:
    """Show the chains of backups that the place has, the oldest first. Opens none, and needs no key and no hub."""
    from keyturn.recovery.chains import list_chains

    place = opened_place(backup_settings())
    chains = list_chains(place)
    locks = {chain.name: _locked_until(place, chain) for chain in chains}
    if as_json:
        data = [{**chain_data(chain), "locked_until": stamp(locks[chain.name])} for chain in chains]
        write_json({"place": place.name, "chains": data})
        return
    rows = [
        (
            chain.name,
            len(chain.manifests) or "none: not finished",
            when(chain.newest_at) or "-",
            f"{chain.size / MEGABYTE:.1f} MB",
            when(locks[chain.name]) or "no",
        )
        for chain in chains
    ]
    note(f"{place.name}: {len(chains)} chains")
    if rows:
        write_table(COLUMNS, rows, whole=("chain",))


@commands.command("verify", epilog=EXAMPLES + EXIT_CODES)
def verify_backups(
    chain: ChainArgument = None, key: KeyOption = None, record: RecordOption = False, as_json: JsonOption = False
) -> None:
    """Read backups back whole: every seal, signature and digest, and that each follows on the one before.

    Ends with 1 where one does not hold, and names the last point that does. Needs a key that opens them, and no hub;
    with --record the hub at work, whose doctor says from then on when they were verified.
    """
    checks = recorded_checks(chain, key) if record else read_back(chain, key)
    if as_json:
        write_json({"chains": [check_data(result) for result in checks]})
    else:
        write_table(CHECK_COLUMNS, [_check_row(result) for result in checks], whole=("chain",))
    for result in checks:
        if result.problem:
            note(f"{result.name}: {result.problem}")
        if result.problem and result.good is not None:
            note(f"{result.name}: up to {result.name}/{result.good} all of it holds")
    if bad := next((result.problem for result in checks if result.problem), None):
        end_command(bad, FAILED)


def recorded_checks(chain: str | None, key: list[str] | None) -> "list[ChainCheck]":
    with opened_workspace(None) as workspace:
        from keyturn.recovery.verify_notes import VERIFY_BACKUPS, note_of_checks
        from keyturn.rotation.state.journal import record_action

        with record_action(workspace, VERIFY_BACKUPS) as doing:
            checks = read_back(chain, key)
            doing.note = note_of_checks(checks)
    return checks


def read_back(chain: str | None, key: list[str] | None) -> "list[ChainCheck]":
    from keyturn.recovery.chains import list_chains, verify_chain
    from keyturn.wiring.backups import signature_check

    settings = backup_settings()
    place, keys, check = opened_place(settings), opening_keys(settings, key), signature_check(settings)
    chains = [stored for stored in list_chains(place) if stored.manifests and chain in (None, stored.name)]
    if not chains:
        raise TerminalError("verify", chain or place.name, "there is no finished backup", "Run `keyturn backup run`")
    return [verify_chain(place, stored, keys, check) for stored in chains]


@commands.command("prune", epilog=EXAMPLES + EXIT_CODES)
def prune_backups(dry_run: DryRunOption = False, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Remove the chains that the operator's file no longer has kept.

    Never the newest that holds, none that can't be opened here, and none that the place has locked.
    """
    from keyturn.recovery.pruning import remove_chain

    settings = backup_settings()
    place = opened_place(settings)
    pruning, troubles = planned_pruning(settings, place, opening_keys(settings, key)), dict[str, KeyturnError]()
    for chain in [] if dry_run else pruning.remove:
        try:
            remove_chain(place, chain)
        except KeyturnError as error:
            troubles[chain.name] = error
    removed = [chain.name for chain in pruning.remove if chain.name not in troubles]
    if as_json:
        write_json({"removed": removed, "kept": pruning.keep, "errors": {name: str(e) for name, e in troubles.items()}})
    for name in removed:
        note(f"{name}: {'would be removed' if dry_run else 'removed'}")
    for name, why in pruning.keep.items():
        note(f"{name}: kept: {why}")
    for name, trouble in troubles.items():
        note(f"{name}: {trouble}")
    if troubles:
        end_command(next(iter(troubles.values())), FAILED)


def planned_pruning(settings: "BackupSettings", place: "BackupPlace", keys: "BackupKeys") -> "Pruning":
    """Return which chains to remove, and why the others are kept."""
    from keyturn.recovery.chains import list_chains
    from keyturn.recovery.pruning import find_fault, plan_pruning
    from keyturn.wiring.backups import retention, signature_check

    check = signature_check(settings)
    return plan_pruning(
        list_chains(place), retention(settings), lambda chain: find_fault(place, chain, keys, check), datetime.now(UTC)
    )


def backup_settings() -> "BackupSettings":
    from keyturn.catalogue.files.policy_file import load_policy
    from keyturn.wiring.backups import declared_backups

    return declared_backups(load_policy(os.environ, Path(os.devnull) / "no-catalogue").backups)


def opened_place(settings: "BackupSettings") -> "BackupPlace":
    from keyturn.wiring.backups import open_place

    return open_place(settings.place)


def opening_keys(settings: "BackupSettings", names: list[str] | None) -> "BackupKeys":
    from keyturn.wiring.backups import openable_keys

    return openable_keys(names or list(settings.keys))


def manifest_data(manifest: "Manifest") -> dict[str, Any]:
    return {
        "chain": manifest.chain,
        "sequence": manifest.sequence,
        "point": stamp(manifest.begun_at),
        "made_at": stamp(manifest.made_at),
        "counts": dict(manifest.counts),
        "missing": list(manifest.missing),
        "ledger": {"name": manifest.ledger.origin, "size": manifest.ledger.size},
        "size": sum(part.size for part in manifest.parts),
    }


def chain_data(chain: "StoredChain") -> dict[str, Any]:
    return {
        "chain": chain.name,
        "backups": len(chain.manifests),
        "newest_at": stamp(chain.newest_at),
        "size": chain.size,
    }


def check_data(result: "ChainCheck") -> dict[str, Any]:
    return {
        "chain": result.name,
        "backups": result.backups,
        "entries": result.entries,
        "point": stamp(result.newest.begun_at) if result.newest else None,
        "good": result.good,
        "error": str(result.problem or ""),
    }


def _check_row(result: "ChainCheck") -> tuple[object, ...]:
    point = when(result.newest.begun_at) if result.newest else "-"
    return result.name, result.backups, result.entries, point, "broken" if result.problem else "whole"


def _locked_until(place: "BackupPlace", chain: "StoredChain") -> Any:
    stored = place.find(chain.manifests[0].name) if chain.manifests else None
    return stored.retained_until if stored else None


def insist_on_address() -> None:
    """Raise Invalid unless VAULT_ADDR names the hub to restore."""
    if not os.environ.get("VAULT_ADDR"):
        raise Invalid("find", "the hub", "VAULT_ADDR is not set", "Set it to the hub that is to be restored")
