"""The commands, put together."""

from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from keyturn import __version__
from keyturn.cli import (
    catalogue,
    due,
    follow,
    get,
    history,
    incidents,
    ledger,
    plan,
    recover,
    registration,
    rename,
    revoke,
    rotation,
    scan,
    stack,
    whois,
)
from keyturn.cli.actor import acting_person
from keyturn.cli.failures import EXIT_CODES, error_boundary
from keyturn.cli.guide import GROUPS, help_ending
from keyturn.cli.output import write_text
from keyturn.core.acting import acting

SHORT: Final = 66
"""Characters of what each command is said to do."""


class Commands(TyperGroup):
    """The commands in their groups; each ends with an exit code and one line, whatever it raises."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each group under its own heading, in the order of :data:`GROUPS`."""
        for heading, names in GROUPS.items():
            commands = [(name, self.commands[name]) for name in names]
            with formatter.section(heading):
                formatter.write_dl([(name, command.get_short_help_str(SHORT)) for name, command in commands])

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with error_boundary():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def tell_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        write_text(f"keyturn {__version__}")
        raise typer.Exit


@app.callback()
def keyturn(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keyturn rotates secrets and keeps every copy of them the same.

    Where VAULT_ADDR is not set and the local stack runs, every command uses the stack.
    """
    acting.set(acting_person(context.invoked_subcommand or ""))


for command in (
    stack.up,
    stack.down,
    stack.status,
    stack.env,
    registration.bootstrap,
    rotation.rotate,
    plan.plan,
    plan.apply,
    rotation.sync,
    rotation.retire,
    rename.rename,
    rename.forget,
    recover.recover,
    history.history,
    scan.scan,
    follow.follow,
    get.get,
    revoke.revoke,
    whois.whois,
    incidents.incidents,
):
    app.command(epilog=help_ending(command.__name__))(command)
app.command("due", epilog=help_ending("due"))(due.show_due)
app.command("import", epilog=help_ending("import"))(scan.import_from_store)
app.add_typer(catalogue.commands, name="catalogue")
app.add_typer(ledger.commands, name="ledger")
