"""``keyturn monitor``: accesses that are unusual for their principal."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import DEFAULT_CATALOGUE, load_catalogue, stack_in_use
from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json
from keyturn.core.errors import KeyturnError
from keyturn.core.workspaces import CATALOGUE_VARIABLE

if TYPE_CHECKING:
    from keyturn.access_log.detection.history import SecretHistory
    from keyturn.access_log.detection.policy import MonitorPolicies
    from keyturn.access_log.hub_log import HubAuditLog
    from keyturn.catalogue import Catalogue
    from keyturn.core.ports.ledger import Entry

commands = typer.Typer(help="Find accesses that are unlike what their principal does.", no_args_is_help=True)

EXAMPLES: Final = """\b
Examples:
  keyturn monitor replay /var/log/openbao/audit.log
  keyturn monitor replay /var/log/openbao/audit.log* --json
  keyturn monitor replay audit.log --compare stricter.yaml

"""

FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Audit files of OpenBao or Vault; rotated files next to them are read too."),
]
RulesOption = Annotated[
    Path | None,
    typer.Option("--rules", metavar="FILE", help="A YAML file with `monitors:`, instead of the catalogue's."),
]
CompareOption = Annotated[
    Path | None,
    typer.Option("--compare", metavar="FILE", help="Other rules: show which alerts these would give, and which not."),
]


@commands.command(epilog=EXAMPLES + EXIT_CODES)
def replay(
    files: FilesArgument,
    rules: RulesOption = None,
    compare: CompareOption = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the hub's audit files against the rules of the catalogue, and show the resulting alerts.

    Asks no server, and writes nothing. Revocations and retirements come from the ledger, if this machine has it.
    """
    from keyturn.access_log.detection.detector import Detector
    from keyturn.access_log.detection.replay import replay_logs
    from keyturn.cli.readers.monitor_tables import Replay, replay_data, show_replay

    stack_in_use()
    declared = declared_here(catalogue, alone=rules is not None)
    policies = [policies_of(rules, declared), *([policies_of(compare, declared)] if compare else [])]
    logs = list(audit_logs(files, declared))
    history, unread = ledger_history()
    detectors = [Detector(policy, history) for policy in policies]
    alerts = replay_logs(logs, detectors)
    done = Replay(tuple((log.name, log.coverage) for log in logs), detectors[0].counts, unread, *alerts)
    return write_json(replay_data(done)) if as_json else show_replay(done)


def declared_here(directory: Path | None, *, alone: bool) -> "Catalogue":
    named = directory is not None or os.environ.get(CATALOGUE_VARIABLE) or DEFAULT_CATALOGUE.is_dir()
    if named or not alone:
        return load_catalogue(directory)
    from keyturn.catalogue import Catalogue

    note("there is no catalogue here, so no secret has an owner or a classification")
    return Catalogue()


def policies_of(file: Path | None, declared: "Catalogue") -> "MonitorPolicies":
    from keyturn.catalogue.files.monitors_file import load_monitors
    from keyturn.catalogue.monitor_policies import DeclaredPolicies

    return DeclaredPolicies(load_monitors(file) if file else declared.monitors, declared)


def audit_logs(files: Sequence[Path], declared: "Catalogue") -> "Iterator[HubAuditLog]":
    from keyturn.access_log.hub_log import HubAuditLog

    mount = os.environ.get("KEYTURN_HUB_MOUNT") or "secret"
    for file in own_files(files):
        yield HubAuditLog(file, mount, os.environ.get("VAULT_NAMESPACE", ""), declared.mount_paths, logins=True)


def own_files(files: Sequence[Path]) -> list[Path]:
    from keyturn.access_log.log_files import rotations

    resolved = list(dict.fromkeys(file.absolute() for file in files))
    rotated = {
        log_file.path
        for file in resolved
        if file.parent.is_dir()
        for log_file in rotations(file)
        if log_file.path != file
    }
    return [file for file in resolved if file not in rotated]


def ledger_history() -> "tuple[SecretHistory, str]":
    """Return the ledger's revocations and retirements. If it can't be read, return an empty history and the reason."""
    from keyturn.access_log.detection.history import NO_HISTORY, SecretHistory

    try:
        return SecretHistory(telling_entries()), ""
    except KeyturnError as error:
        return NO_HISTORY, error.problem


def telling_entries() -> "Iterator[Entry]":
    """Yield the ledger's promotions, retirements and revocations. Raises Unavailable, Rewritten or Invalid."""
    from keyturn.access_log.detection.history import ACTIONS
    from keyturn.cli.ledger import sources
    from keyturn.ledger.entries import parse_leaf

    needles = [f'"action":"{action}"'.encode() for action in ACTIONS]
    sources.settle_ledger()
    with sources.read_only() as source:
        for _, leaf in source.leaves():
            if any(needle in leaf for needle in needles):
                yield parse_leaf(leaf).entry
