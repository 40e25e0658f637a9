"""``keyturn setup``: prepare hub, targets, stores and Prefect for a catalogue, and show each change first."""

import typer

from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.setup.hub import PLAN_EXIT_CODES, setup_hub
from keyturn.cli.setup.hub_commands import write_credentials
from keyturn.cli.setup.notice import send_test_notice
from keyturn.cli.setup.prefect import setup_prefect
from keyturn.cli.setup.store import setup_store
from keyturn.cli.setup.target import setup_target

commands = typer.Typer(help="Make hub, targets, stores and Prefect ready for the catalogue.", no_args_is_help=True)

commands.command("hub", epilog=PLAN_EXIT_CODES)(setup_hub)
commands.command("credentials", epilog=EXIT_CODES)(write_credentials)
commands.command("target", epilog=PLAN_EXIT_CODES)(setup_target)
commands.command("store", epilog=EXIT_CODES)(setup_store)
commands.command("prefect", epilog=PLAN_EXIT_CODES)(setup_prefect)
commands.command("test-notice", epilog=EXIT_CODES)(send_test_notice)
