"""The command line ``keyturn``."""

import gc
import sys
from typing import Final

NEEDED: Final = ("typer", "rich")

SELDOM: Final = (50_000, 20, 50)
"""New objects between two looks of the collector of cycles, and how many such looks lie between two deeper ones.

With thousands of secrets its usual looks are a third of what a command costs, and find nothing.
"""


def main() -> None:
    """Run the command line; where its packages are not installed, say in one line which extra brings them."""
    gc.set_threshold(*SELDOM)
    try:
        from deployments.cli.app import app

        app(prog_name="keyturn")
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        sys.stderr.write(f"error: the package {error.name} is missing. Install keyturn[flows]\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
