"""The command line ``keyturn``."""

import sys
from typing import Final

NEEDED: Final = ("typer", "rich")


def main() -> None:
    """Run the command line; where its packages are not installed, say in one line which extra brings them."""
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
