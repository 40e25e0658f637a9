"""``keyturn backup``: make, list, verify, prune and restore backups."""

from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.recovery.backup import EXAMPLES, commands
from keyturn.cli.recovery.restore import restore, restore_drill

__all__ = ["commands"]

commands.command("restore", epilog=EXAMPLES + EXIT_CODES)(restore)
commands.command("drill", epilog=EXAMPLES + EXIT_CODES)(restore_drill)
