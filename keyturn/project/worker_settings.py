"""The settings that a worker passes to its runs, only from its own environment and a file.

Users of Prefect's API could otherwise redirect the worker's login.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.workspaces import CATALOGUE_VARIABLE, VARIABLE, WorkspaceNames

FILE: Final = "KEYTURN_SETTINGS_FILE"
"""Names the file with NAME=value lines, which is read for each run."""
NEEDED: Final = ("VAULT_ADDR", CATALOGUE_VARIABLE)

_LINE: Final = re.compile(r"""([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"]*)"|'([^']*)'|([^"'\s].*|))""")


def own_settings(environment: Mapping[str, str], pool: str) -> dict[str, str]:
    """A run's settings on ``pool``: the environment, then the file.

    Raises Invalid for missing settings or another pool's workspace, and the errors of :func:`read_settings`.
    """
    workspace, file = WorkspaceNames.of_pool(pool), environment.get(FILE)
    settings = {**(read_settings(Path(file)) if file else {}), **environment}
    if (named := settings.get(VARIABLE) or workspace.name) != workspace.name:
        problem = f"{VARIABLE} is {named}, and the pool {pool} is of the workspace {workspace.name}"
        raise Invalid("start", "the worker", problem, f"Unset it, or start the worker with --pool of {named}")
    if missing := [name for name in NEEDED if not settings.get(name)]:
        problem = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
        hint = f"A worker takes them from its own environment, or from the file that {FILE} names, and not from Prefect"
        raise Invalid("start", "the worker", problem, hint)
    return {**settings, VARIABLE: workspace.name}


def read_settings(file: Path) -> dict[str, str]:
    """The file's variables. Raises NotFound, Unavailable, and Invalid if other users may write it."""
    try:
        with file.open() as opened:
            insist_on_mode(file, os.fstat(opened.fileno()))
            lines = opened.read().splitlines()
    except FileNotFoundError:
        raise NotFound("read", str(file), "there is no such file", f"{FILE} names it") from None
    except (OSError, UnicodeDecodeError) as error:
        problem = f"it can't be read ({type(error).__name__})"
        raise Unavailable("read", str(file), problem, f"{FILE} names it") from None
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return dict(variable(file, number, line) for number, line in numbered if line and not line.startswith("#"))


def insist_on_mode(file: Path, status: os.stat_result) -> None:
    """Raise Invalid if other users may write the file, because they could redirect the worker's login."""
    if status.st_uid not in (0, os.geteuid()):
        raise Invalid("read", str(file), "it belongs to another user", "Let root or the worker's user own it")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Invalid("read", str(file), "others than its owner may write it", f"chmod go-w {file}")


def variable(file: Path, number: int, line: str) -> tuple[str, str]:
    if not (match := _LINE.fullmatch(line)):
        raise Invalid("read", f"{file}:{number}", "it is no line of the kind NAME=value", "Correct it")
    name, *values = match.groups()
    return name, next((value for value in values if value is not None), "")
