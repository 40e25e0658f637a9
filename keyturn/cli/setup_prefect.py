"""``keyturn setup prefect``: what is registered with the Prefect server, and how its workers are started."""

from collections.abc import Iterator
from typing import Final

from keyturn.cli.doctor import in_prefect, rows
from keyturn.cli.environment import stack_in_use
from keyturn.cli.options import CatalogueOption, FailureUrlOption, WorkspaceOption
from keyturn.cli.output import note, write_table, write_text
from keyturn.cli.prefect_server import insist_on_prefect
from keyturn.cli.registration import bootstrap
from keyturn.cli.setup_target import ApplyOption
from keyturn.core.workspaces import DEFAULT, WorkspaceNames

WORKERS: Final = {
    "default": "worker",
    "emergency": "revoker",
    "notary": "notary",
    "granter": "granter",
    "backup": "backup",
}
"""The queues, and whose login to the hub each one's worker has."""


def setup_prefect(
    failure_url: FailureUrlOption = None,
    apply: ApplyOption = False,
    catalogue: CatalogueOption = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Register the work pool, limits, blocks, deployments and automations, as `keyturn bootstrap` does.

    Shows what is lacking there, and whether the server is guarded; one that is not is refused with --apply. Then says
    how each worker is started.
    """
    names = WorkspaceNames(workspace)
    stack_in_use()
    api = insist_on_prefect(instead="").url
    if apply:
        bootstrap(catalogue, failure_url, workspace)
    note(f"looking at Prefect at {api}")
    results = [result for result in in_prefect(names, api) if result.grade != "ok"]
    if results:
        write_table(("", "what", "how it is, and what to do"), rows(results))
    write_text("\n".join(worker_lines(names)))


def worker_lines(names: WorkspaceNames) -> Iterator[str]:
    """How to start each worker: with a login of its own, on a host or in a container of its own where it may be."""
    yield "start each worker, with the login files of its own role:"
    for queue, login in WORKERS.items():
        yield (
            f"  KEYTURN_HUB_ROLE_ID_FILE=DIR/{names.own}-{login}/role-id"
            f" KEYTURN_HUB_SECRET_ID_FILE=DIR/{names.own}-{login}/secret-id"
            f" prefect worker start --pool {names.own} --work-queue {queue} --type keyturn"
        )
