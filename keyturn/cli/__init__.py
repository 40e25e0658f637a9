"""The command line ``keyturn``."""

import gc
import os
import sys
from typing import Final, NoReturn

from keyturn.project import enter
from keyturn.project.process import end_with, guard_process

SELDOM: Final = (50_000, 20, 50)
"""New objects between two looks of the collector of cycles, and how many such looks lie between two deeper ones.

With thousands of secrets its usual looks are a third of what a command costs, and find nothing.
"""


NO_VALUES: Final = {"--help", "--version"}
"""What needs no guarding, and is answered sooner without."""


INHERITED: Final = dict(os.environ)
"""What this process was given, before anything was added."""

SETTINGS_FILE: Final = "KEYTURN_SETTINGS_FILE"


def take_settings() -> None:
    """Add what the operator's file of settings says, as a worker's runs have it; the environment goes before it."""
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
    """What this process was given closed leads nowhere: else the next file or connection would take its number.

    What it begins is given it closed, as without ``keyturn``.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number, inheritable=False)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for good


def main() -> None:
    """Run the command line."""
    open_closed_streams()
    gc.set_threshold(*SELDOM)
    # Pydantic looks through all installed packages for plugins of its own, which takes longer than it does all else.
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
    """Run the command line as all that this process does."""
    end_with(main)
