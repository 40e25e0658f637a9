"""Commands that a person runs to end accounts if a revocation can't reach the hub or a target."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.cli.environment import catalogue_directory
from keyturn.cli.output import note
from keyturn.core.errors import HubUnavailable, KeyturnError, Unavailable

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.revocation.selector import Selector


def note_commands(catalogue: "Catalogue", paths: Iterable[str]) -> None:
    lines = [line for path in paths for line in command_lines(catalogue, path)]
    if lines:
        note("\n".join(["END IT BY HAND NOW. Run there, as an administrator:", *lines]))


def command_lines(catalogue: "Catalogue", path: str) -> Iterator[str]:
    from keyturn.catalogue.manual_commands import manual_commands

    try:
        commands = manual_commands(catalogue, path)
    except KeyturnError as error:
        yield f"  {path}: {error.problem}"
        return
    accounts = f": {', '.join(commands.accounts)}" if commands.accounts else ""
    yield f"  {path} at {commands.place}{accounts}"
    yield from (f"    {line}" for line in commands.lines)
    if not commands.lines:
        yield "    Keyturn knows no command for this: end it by the service's own means"


@contextmanager
def needing_hub(directory: Path | None, selector: "Selector") -> Iterator[None]:
    """If the hub does not answer, show the commands for the selection and raise HubUnavailable."""
    try:
        yield
    except HubUnavailable:
        raise
    except Unavailable as error:
        with suppress(KeyturnError):
            show_chosen(directory, selector)
        problem = f"{error.problem}, so nothing more is revoked"
        hint = "Run the commands above. When the hub is back, run the same command again"
        raise HubUnavailable("revoke", selector.words or error.name, problem, hint) from None


def show_chosen(directory: Path | None, selector: "Selector") -> None:
    from keyturn.catalogue import load_catalogue
    from keyturn.revocation.selector import Selector, chosen_paths

    wanted = replace(selector, lease_prefix="", fingerprint="")
    if wanted == Selector():
        return
    catalogue = load_catalogue(catalogue_directory(directory), os.environ, despite_policy=True, lenient=True)
    note_commands(catalogue, sorted(chosen_paths(catalogue, wanted)))
