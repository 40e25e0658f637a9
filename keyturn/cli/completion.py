"""What a shell offers for names: of secrets, stores and the like by the catalogue's files, of incidents by the hub.

A shell waits for it at each Tab, so it is quick, and silent whatever fails: it offers nothing then.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue

LONGEST: Final = 1.5
"""Seconds that a shell waits at most."""
MOST: Final = 200
"""Names that are offered."""
NEWEST: Final = 20
"""Incidents that are offered."""


def complete_secret(ctx: typer.Context, incomplete: str) -> list[str]:
    """The secrets of the catalogue."""
    return _offered(ctx, incomplete, lambda: sorted(_catalogue(ctx).secrets))


def complete_store(ctx: typer.Context, incomplete: str) -> list[str]:
    """Its stores."""
    return _offered(ctx, incomplete, lambda: sorted(_catalogue(ctx).stores))


def complete_target(ctx: typer.Context, incomplete: str) -> list[str]:
    """Its targets."""
    return _offered(ctx, incomplete, lambda: sorted(_catalogue(ctx).targets))


def complete_owner(ctx: typer.Context, incomplete: str) -> list[str]:
    """Who answers for its secrets."""
    return _offered(ctx, incomplete, lambda: sorted({secret.owner for secret in _catalogue(ctx).secrets.values()}))


def complete_incident(ctx: typer.Context, incomplete: str) -> list[str]:
    """The newest incidents, which the hub names; none where it is not reached soon."""
    return _offered(ctx, incomplete, lambda: _incidents(ctx))


def _offered(ctx: typer.Context, incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    """Those that begin so, looked for by a thread that nobody waits for longer than a shell may."""
    offered: list[str] = []

    def look() -> None:
        try:
            _take_context(ctx)
            offered.extend([name for name in names() if name.startswith(incomplete)][:MOST])
        except BaseException:  # noqa: BLE001  a shell that completes a name has no use for an error
            offered.clear()

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        thread = Thread(target=look, daemon=True)
        thread.start()
        thread.join(LONGEST)
    return [] if thread.is_alive() else offered


def _take_context(ctx: typer.Context) -> None:
    """The context that the line names, or the one in use."""
    from keyturn.cli.setup.contexts import take_context

    name: Any = ctx.find_root().params.get("context_name")
    take_context(name, ctx.info_name or "")


def _catalogue(ctx: typer.Context) -> "Catalogue":
    """The one of the line, or of the environment. Raises Invalid."""
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
