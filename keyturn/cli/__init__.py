"""The command line ``keyturn``."""

import gc
import os
import sys
from typing import Final, NoReturn

from keyturn.project import enter
from keyturn.project.process import end_with, guard_process

SELDOM: Final = (50_000, 20, 50)
"""Garbage collection thresholds.

With thousands of secrets, the defaults cost a third of a command's time and free nothing.
"""


NO_VALUES: Final = {"--help", "--version"}
"""Options answered without guarding the process, which is faster."""
INHERITED: Final = dict(os.environ)
"""The environment that this process inherited, before Keyturn sets anything."""
SETTINGS_FILE: Final = "KEYTURN_SETTINGS_FILE"


def take_settings() -> None:
    """Add the settings of KEYTURN_SETTINGS_FILE, as a worker's runs do. Variables already set take precedence."""
    if not (file := os.environ.get(SETTINGS_FILE)):
        return
    from pathlib import Path

    from keyturn.cli.failures import FAILED, say
    from keyturn.core.errors import KeyturnError
    from keyturn.project.worker_settings import read_settings

    try:
        settings = read_settings(Path(file))
    except KeyturnError as error:
        say(error)
        sys.exit(FAILED)
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def open_closed_streams() -> None:
    """Open the null device for closed standard streams, whose numbers files would get. Children get them closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number, inheritable=False)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for good


def main() -> None:
    open_closed_streams()
    gc.set_threshold(*SELDOM)
    # Pydantic searches all installed packages for plugins, which takes longer than everything else it does.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from keyturn.cli.commands import imported_first, make_app

        if not NO_VALUES.intersection(sys.argv[1:2]):
            guard_process()
            take_settings()
        enter()
        make_app(imported_first(sys.argv[1:]))(prog_name="keyturn")
    except KeyboardInterrupt:
        sys.exit(130)


def program() -> NoReturn:
    end_with(main)
