"""``keyturn repair``: what a rename, a lost version or a lost hub needs."""

from typing import Final

import typer

from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.secrets.recover import recover
from keyturn.cli.secrets.rehydrate import rehydrate
from keyturn.cli.secrets.rename import forget, rename

EXAMPLES: Final = """\b
Examples:
  keyturn repair rename ml-training/database ml/database
  keyturn repair forget ml-training/database --end-previous
  keyturn repair recover --dry-run
  keyturn repair recover ml-training/database
  keyturn repair rehydrate --key fingerprint-key.json --apply

"""

commands = typer.Typer(help="Repair what a rename, a restored backup or a lost hub left behind.", no_args_is_help=True)

for command in (rename, forget, recover, rehydrate):
    commands.command(epilog=EXAMPLES + EXIT_CODES)(command)
