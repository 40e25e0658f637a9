"""``keyturn backup restore`` and ``keyturn backup drill``: bring a hub back from its backups, and try that it works."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED, end_command
from keyturn.cli.options import JsonOption, YesOption, insist_on_terminal
from keyturn.cli.output import note, stamp, when, write_json
from keyturn.cli.recovery.backup import (
    KeyOption,
    RecordOption,
    backup_settings,
    insist_on_address,
    opened_place,
    opening_keys,
)
from keyturn.core.errors import Invalid, TerminalError
from keyturn.core.ports.envelope import Refusal, SealRefused

if TYPE_CHECKING:
    from keyturn.catalogue.operator.backups import BackupSettings
    from keyturn.core.ports.backups import BackupKeys, BackupPlace, Manifest
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.recovery.chains import OpenedChain
    from keyturn.recovery.drilling import DrillReport
    from keyturn.recovery.manifests import SignatureCheck
    from keyturn.recovery.restoring import RestorePlan, SinceThen
    from keyturn.rotation.state.context import Workspace

PRIVATE: Final = 0o700
LEAVING_ALONE: Final = "restore into an empty hub; or give --apply --skip-newer, which leaves alone what is named"

BackupArgument = Annotated[
    str | None,
    typer.Argument(metavar="BACKUP", help="CHAIN, or CHAIN/NUMBER for an earlier point; without it, the newest."),
]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Write it; without it only the plan is shown.")]
SkipNewerOption = Annotated[
    bool, typer.Option("--skip-newer", help="Leave alone what the hub has newer or otherwise, and restore the rest.")
]
FilesOption = Annotated[
    Path | None,
    typer.Option("--files", metavar="DIR", help="A new directory for the catalogue's files and the ledger's export."),
]


def restore(
    backup: BackupArgument = None,
    apply: ApplyOption = False,
    yes: YesOption = False,
    skip_newer: SkipNewerOption = False,
    files: FilesOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore the hub of VAULT_ADDR from a backup: missing entries are written, with their version numbers.

    Needs the operator's file, a key that opens backups, and a login that may do everything in that hub; no catalogue.
    Newer entries are never overwritten. Safe to run again: an interrupted restore continues.
    """
    from keyturn.recovery.restoring import plan_restore, restore_chain

    insist_on_address()
    settings = backup_settings()
    place = opened_place(settings)
    chain = chosen_chain(settings, place, backup, key)
    hub = target_hub(chain.newest.areas)
    try:
        content = hub.content()
        with naming_whole_backup(settings, place, chain, key):
            plan = plan_restore(content, place, chain)
        if not as_json:
            tell_plan(plan)
        if not apply:
            if as_json:
                write_json(restore_plan_data(plan))
            refused = bool(plan.held) and not skip_newer
            note(f"nothing was written: {LEAVING_ALONE if refused else 'give --apply'}")
            return
        plan.insist(skip_newer=skip_newer)
        insist_on_terminal(yes)
        if not yes:
            typer.confirm(f"Write {plan.writes} requests' worth into the hub at {content.address}?", abort=True)
        with naming_whole_backup(settings, place, chain, key):
            result = restore_chain(content, place, plan)
    finally:
        hub.close()
    if files:
        write_restored_files(files, result.files, place, chain)
    if as_json:
        write_json({**restore_plan_data(plan), "written": result.written, "faults": result.faults})
    note(f"restored {result.written} entries, {result.versions} versions, {len(result.keys)} keys")
    if result.faults:
        raise TerminalError("restore", chain.newest.name, "; ".join(result.faults), "Fix it, and run it again")
    note(f"the hub is at {when(chain.newest.begun_at)} UTC; next: keyturn repair recover --dry-run")


def chosen_chain(
    settings: "BackupSettings", place: "BackupPlace", backup: str | None, key: list[str] | None
) -> "OpenedChain":
    """Open the chosen chain up to its number, and report errors in newer ones."""
    from keyturn.recovery.chains import newest_chain
    from keyturn.wiring.backups import signature_check

    name, _, number = (backup or "").partition("/")
    if number and not number.isdecimal():
        raise typer.BadParameter("write CHAIN or CHAIN/NUMBER, as `keyturn backup list` shows them")
    check = signature_check(settings)
    if not check.public_key:
        note("no public_key is declared: anyone with a wrapping key could have made this backup")
    until = int(number) if number else None
    keys = opening_keys(settings, key)
    try:
        chain, passed = newest_chain(place, keys, check, name or None, until)
    except SealRefused as refusal:
        if not name or refusal.refusal is Refusal.KEYLESS:
            raise
        raise refusal.advising(whole_backup(place, keys, check, name)) from None
    for error in passed:
        note(f"passed over: {error}")
    if chain.problem:
        note(f"{chain.name}: what follows on number {chain.newest.sequence} does not hold: {chain.problem}")
    return chain.until(until)


@contextmanager
def naming_whole_backup(
    settings: "BackupSettings", place: "BackupPlace", chain: "OpenedChain", key: list[str] | None
) -> Iterator[None]:
    """If a chain is damaged from its base, name the newest intact backup."""
    from keyturn.wiring.backups import signature_check

    try:
        yield
    except SealRefused as refusal:
        if refusal.name not in {part.name for part in chain.manifests[0].parts}:
            raise
        whole = whole_backup(place, opening_keys(settings, key), signature_check(settings), chain.name)
        raise refusal.advising(whole) from None


def whole_backup(place: "BackupPlace", keys: "BackupKeys", check: "SignatureCheck", damaged: str) -> str:
    """Return the remedy for a chain damaged from its base. This reads all other backups."""
    from keyturn.recovery.chains import newest_whole
    from keyturn.recovery.parts import FROM_THE_STORE

    note(f"{damaged} is damaged from its base on: looking for the newest backup of which all holds")
    whole = newest_whole(place, keys, check, damaged)
    if whole is None:
        return f"No other backup in {place.name} holds either. {FROM_THE_STORE}"
    made = f"as of {when(whole.begun_at)} UTC"
    return f"Take the newest one that holds, {made}: keyturn backup restore {whole.name}. {FROM_THE_STORE}"


def target_hub(areas: Mapping[str, str]) -> "VaultHub":
    from keyturn.core.ports.backups import SECRETS, STATE, mount_name
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings

    environment = HubSettings.from_environment()
    settings = replace(environment, mount=areas[SECRETS], state_mount=areas[STATE])
    others = {mount_name(area): path for area, path in areas.items() if mount_name(area)}
    hub = VaultHub(settings)
    return hub.mounted(others) if others else hub


def tell_plan(plan: "RestorePlan") -> None:
    from keyturn.recovery.restoring import RestoreChange

    newest: Manifest = plan.chain.newest
    note(f"backup {newest.name}: the hub as of {when(newest.begun_at)} UTC, by Keyturn {newest.keyturn}")
    for area in plan.mounts:
        note(f"make the mount {newest.areas[area]}")
    written, there = plan.counts[RestoreChange.WRITE], plan.counts[RestoreChange.KEEP]
    note(f"write {written} entries in about {plan.writes} requests; {there} are there")
    if plan.keys:
        note(f"keys of the transit engine: {', '.join(sorted(plan.keys))}")
    for line in newest.missing:
        note(f"not in the backup: {line}")
    for (_, path), change in plan.held.items():
        note(f"left alone: {path} is {change} in the hub")
    tell_since(plan.since)


def tell_since(since: "SinceThen") -> None:
    from keyturn.recovery.drilling import shorten

    for names, words in (
        (since.returning, "the hub does not have, and it comes back: removed since the backup, or never in it"),
        (since.ended, "destroyed in the hub since the backup, and it stays so"),
        (
            since.removed,
            "removed before the backup, and the hub has it: it stays, remove it by hand where it has to go",
        ),
        (
            since.unbacked,
            "the hub has it, and the backup does not: removed before the backup, or written here since; it stays:"
            " remove it by hand where it has to go",
        ),
        (since.destroyed, "destroyed or deleted before the backup, and can be read in the hub: it stays"),
    ):
        if names:
            note(f"{words}: {shorten(tuple(names))}")


def restore_plan_data(plan: "RestorePlan") -> dict[str, Any]:
    newest = plan.chain.newest
    return {
        "chain": newest.chain,
        "sequence": newest.sequence,
        "point": stamp(newest.begun_at),
        "changes": {str(change): count for change, count in plan.counts.items()},
        "held": [path for _, path in plan.held],
        "since": asdict(plan.since),
        "mounts": [newest.areas[area] for area in plan.mounts],
        "keys": plan.keys,
        "missing": list(newest.missing),
        "ledger_entries": plan.leaves,
    }


def write_restored_files(
    directory: Path, files: Mapping[str, bytes], place: "BackupPlace", chain: "OpenedChain"
) -> None:
    from keyturn.recovery.restoring import export_ledger

    try:
        directory.mkdir(PRIVATE)
    except FileExistsError:
        raise Invalid("write", str(directory), "it is there already", "Name a directory that is not") from None
    catalogue = directory / "catalogue"
    catalogue.mkdir(PRIVATE)
    for name, content in files.items():
        (catalogue / Path(name).name).write_bytes(content)
    with (directory / "ledger.jsonl").open("wb") as entries, (directory / "checkpoints.jsonl").open("wb") as notes:
        count = export_ledger(place, chain, entries, notes)
    note(f"{directory}: {len(files)} files of the catalogue, and {count} entries of the ledger")


def restore_drill(key: KeyOption = None, record: RecordOption = False, as_json: JsonOption = False) -> None:
    """Restore the newest backup into the scratch hub of the operator's file, compare all of it, and remove it again.

    Compares every version by its keyed fingerprint, and reports recovery time and recovery point. Ends with 1 if
    something was not restored. Works below keyturn-drill/ in that hub, and touches nothing else there.
    """
    if record:
        with opened_workspace(None) as workspace:
            report = drill_and_record(workspace, key)
    else:
        report = drilled(key)
    if as_json:
        write_json(drill_data(report))
    else:
        tell_drill(report)
    if not report.proven:
        end_command(not_proven(report), FAILED)


def drill_and_record(workspace: "Workspace", key: list[str] | None) -> "DrillReport":
    from keyturn.recovery.drill_notes import RESTORE_DRILL, note_of
    from keyturn.rotation.state.journal import record_action

    with record_action(workspace, RESTORE_DRILL) as doing:
        report = drilled(key)
        doing.note = note_of(report).words
    return report


def drilled(key: list[str] | None) -> "DrillReport":
    """Run one drill. The hub of VAULT_ADDR, if set, shows what the backup lacks."""
    from keyturn.recovery.drilling import run_drill
    from keyturn.wiring.backups import declared_drill
    from keyturn.wiring.scratch_hub import open_scratch

    settings = backup_settings()
    scratch_settings = declared_drill(settings)
    key_names = key or ([scratch_settings.key] if scratch_settings.key else None)
    place = opened_place(settings)
    chain = chosen_chain(settings, place, None, key_names)
    scratch = open_scratch(scratch_settings, dict(chain.newest.areas))
    live = target_hub(chain.newest.areas) if os.environ.get("VAULT_ADDR") else None
    try:
        return run_drill(
            scratch.content(),
            scratch.fingerprint_keys,
            place,
            lambda: chosen_chain(settings, place, None, key_names),
            datetime.now(UTC),
            live.content() if live else None,
        )
    finally:
        for hub in filter(None, (scratch, live)):
            hub.close()


def not_proven(report: "DrillReport") -> TerminalError:
    from keyturn.recovery.drilling import shorten

    faults = [*report.faults, *([f"not as it was: {shorten(report.differing)}"] if report.differing else [])]
    problem = "; ".join(faults) or "the backup is empty"
    return TerminalError("drill", f"{report.chain}/{report.sequence}", problem, "Run `keyturn backup verify`")


def tell_drill(report: "DrillReport") -> None:
    note(f"backup {report.chain}/{report.sequence}: {report.entries} entries, {report.versions} versions compared")
    note(f"recovery time {report.seconds:.1f} s, and {report.compare_seconds:.1f} s to compare")
    note(f"recovery point {when(report.point)} UTC: {report.age.total_seconds():.0f} s before the drill")
    if report.live:
        since = f", the oldest since {when(report.live.since)} UTC" if report.live.since else ""
        note(f"the hub at work has {report.live.entries} entries that are newer{since}")
    for line in report.missing:
        note(f"not in the backup: {line}")


def drill_data(report: "DrillReport") -> dict[str, Any]:
    return {
        "chain": report.chain,
        "sequence": report.sequence,
        "point": stamp(report.point),
        "age_seconds": round(report.age.total_seconds(), 1),
        "recovery_seconds": round(report.seconds, 1),
        "compare_seconds": round(report.compare_seconds, 1),
        "entries": report.entries,
        "versions": report.versions,
        "proven": report.proven,
        "differing": list(report.differing),
        "faults": list(report.faults),
        "missing": list(report.missing),
        "live_newer": report.live.entries if report.live else None,
    }
