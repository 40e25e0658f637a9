"""The command line ``keyturn``."""

import gc
import sys
from typing import Final

from keyturn.project import enter

SELDOM: Final = (50_000, 20, 50)
"""New objects between two looks of the collector of cycles, and how many such looks lie between two deeper ones.

With thousands of secrets its usual looks are a third of what a command costs, and find nothing.
"""


def main() -> None:
    """Run the command line."""
    gc.set_threshold(*SELDOM)
    try:
        from keyturn.cli.app import app

        enter()
        app(prog_name="keyturn")
    except KeyboardInterrupt:
        sys.exit(130)
