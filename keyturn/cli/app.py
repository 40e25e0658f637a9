"""The commands, put together."""

from typing import Annotated, Any

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
from keyturn.cli.actor import me
from keyturn.cli.failures import EXIT_CODES, told
from keyturn.cli.output import write
from keyturn.core.acting import acting


class Told(TyperGroup):
    """A group whose commands end with an exit code and one line, whatever they raise."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with told():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Told,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def tell_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        write(f"keyturn {__version__}")
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
    acting.set(me(context.invoked_subcommand or ""))


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
    due.due,
    history.history,
    scan.scan,
    follow.follow,
    get.get,
    revoke.revoke,
    whois.whois,
    incidents.incidents,
):
    app.command(epilog=EXIT_CODES)(command)
app.command("import", epilog=EXIT_CODES)(scan.bring)
app.add_typer(catalogue.commands, name="catalogue")
app.add_typer(ledger.commands, name="ledger")
