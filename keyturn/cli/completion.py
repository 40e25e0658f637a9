"""Shell completion of names, from the catalogue's files; incidents come from the hub.

A shell waits for it at each Tab, so it is quick. After any failure it prints nothing and offers nothing.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue

LONGEST: Final = 1.5
"""The longest wait of a shell, in seconds."""
MOST: Final = 200
"""The most names offered."""
NEWEST: Final = 20
"""The most incidents offered."""


def _completing(names: "Callable[[Catalogue], Iterable[str]]") -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return _offered(ctx, incomplete, lambda: sorted(names(_catalogue(ctx))))

    return complete


complete_secret = _completing(lambda catalogue: catalogue.secrets)
complete_store = _completing(lambda catalogue: catalogue.stores)
complete_target = _completing(lambda catalogue: catalogue.targets)
complete_owner = _completing(lambda catalogue: {secret.owner for secret in catalogue.secrets.values()})


def complete_incident(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the newest incidents; none if the hub does not answer in time."""
    return _offered(ctx, incomplete, lambda: _incidents(ctx))


def _offered(ctx: typer.Context, incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    """Return the names with this prefix. The lookup runs in a thread, which is given up after LONGEST."""
    from keyturn.cli.setup.contexts import take_context

    offered: list[str] = []

    def look() -> None:
        try:
            take_context(ctx.find_root().params.get("context_name"), ctx.info_name or "")
            offered.extend([name for name in names() if name.startswith(incomplete)][:MOST])
        except BaseException:  # noqa: BLE001  a shell that completes a name has no use for an error
            offered.clear()

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        thread = Thread(target=look, daemon=True)
        thread.start()
        thread.join(LONGEST)
    return [] if thread.is_alive() else offered


def _catalogue(ctx: typer.Context) -> "Catalogue":
    from keyturn.cli.environment import load_catalogue

    directory = ctx.params.get("catalogue")
    return load_catalogue(Path(directory) if directory else None, despite_policy=True)


def _incidents(ctx: typer.Context) -> list[str]:
    from keyturn.cli.environment import opened_workspace
    from keyturn.revocation.incidents.store import INCIDENTS

    directory = ctx.params.get("catalogue")
    with opened_workspace(Path(directory) if directory else None, despite_policy=True) as workspace:
        folders = workspace.hub.list_folders(INCIDENTS)
    return sorted((folder.rstrip("/") for folder in folders), reverse=True)[:NEWEST]
