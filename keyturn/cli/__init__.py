"""The command line ``keyturn``."""

import gc
import os
import sys
from typing import Final

from keyturn.project import enter
from keyturn.project.process import guard_process

SELDOM: Final = (50_000, 20, 50)
"""New objects between two looks of the collector of cycles, and how many such looks lie between two deeper ones.

With thousands of secrets its usual looks are a third of what a command costs, and find nothing.
"""


NO_VALUES: Final = {"--help", "--version"}
"""What needs no guarding, and is answered sooner without."""


def main() -> None:
    """Run the command line."""
    gc.set_threshold(*SELDOM)
    # Pydantic looks through all installed packages for plugins of its own, which takes longer than it does all else.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from keyturn.cli.commands import COMMANDS, make_app

        if not NO_VALUES.intersection(sys.argv[1:2]):
            guard_process()
        enter()
        first = sys.argv[1] if len(sys.argv) > 1 else ""
        make_app(first if first in COMMANDS else "")(prog_name="keyturn")
    except KeyboardInterrupt:
        sys.exit(130)
