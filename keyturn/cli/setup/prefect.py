"""``keyturn setup prefect``: what is registered with the Prefect server, and how to start its workers."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import load_catalogue, stack_in_use
from keyturn.cli.failures import DIFFERS, FAILED
from keyturn.cli.options import CatalogueOption, FailureUrlOption, WorkspaceOption
from keyturn.cli.output import note, write_table, write_text
from keyturn.cli.running.doctor import in_prefect, rows
from keyturn.cli.setup.prefect_server import insist_on_prefect
from keyturn.cli.setup.registration import register_project
from keyturn.cli.setup.target import ApplyOption
from keyturn.core.workspaces import DEFAULT, WorkspaceNames

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue

WORKERS: Final = {
    "default": "worker",
    "emergency": "revoker",
    "notary": "notary",
    "granter": "granter",
    "backup": "backup",
}
"""The queues, and the hub login of each one's worker."""


def setup_prefect(
    failure_url: FailureUrlOption = None,
    logins: Annotated[
        Path | None, typer.Option("--logins", metavar="DIR", help="Where `setup hub --logins` has put the logins.")
    ] = None,
    apply: ApplyOption = False,
    catalogue: CatalogueOption = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Show what the Prefect server lacks, and how each worker is started; with --apply, register everything.

    Everything is the work pool, limits, blocks, deployments and automations. A server that is not guarded is refused.
    Run it again after each change to the catalogue's targets, or to Keyturn's version. With --workspace, what other
    workspaces have on the server stays as it is.
    """
    names = WorkspaceNames(workspace)
    stack_in_use()
    api = insist_on_prefect(instead="").url
    declared = load_catalogue(catalogue)
    if apply:
        register_project(catalogue, failure_url, workspace)
    note(f"looking at Prefect at {api}")
    checks = in_prefect(names, api, declared)
    results = [each for each in checks if each.grade != "ok"]
    if results:
        write_table(("", "what", "how it is, and what to do"), rows(results))
    write_text("\n".join(worker_lines(names, declared, logins)))
    grades = {str(result.grade) for result in results}
    if not apply and grades & {"unknown", "failed"}:
        raise typer.Exit(FAILED if "unknown" in grades else DIFFERS)


def worker_lines(names: WorkspaceNames, declared: "Catalogue", logins: Path | None) -> Iterator[str]:
    from keyturn.catalogue.hub_entries import AppRoleEntry

    yield "start each worker with the files of its login, worker and revoker also with cloud logins:"
    if logins is None:
        yield "  export LOGINS=  # the directory that `setup hub --logins` has written"
    home = shlex.quote(str(logins.absolute())) if logins else '"$LOGINS"'
    roles = {entry.login: name for name, entry in declared.hub.items() if isinstance(entry, AppRoleEntry)}
    ledger = os.environ.get("KEYTURN_LEDGER") or "FILE"
    place = "" if "://" in ledger else f"KEYTURN_LEDGER={shlex.quote(ledger)} "
    for queue, login in WORKERS.items():
        if queue in declared.unneeded_queues:
            continue
        role = roles.get(login, f"{names.own}-{login}")
        polling = "PREFECT_WORKER_QUERY_SECONDS=2 " if queue == "emergency" else ""
        files = f"KEYTURN_HUB_ROLE_ID_FILE={home}/{role}/role-id KEYTURN_HUB_SECRET_ID_FILE={home}/{role}/secret-id"
        start = f"prefect worker start --pool {names.own} --work-queue {queue} --type keyturn"
        yield f"  {files} {place}{polling}{start}"
        if roles and login not in roles:
            yield f"    the catalogue declares no login of the {login} yet: `keyturn setup hub` shows the entry"
