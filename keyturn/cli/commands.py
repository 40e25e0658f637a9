"""The commands, put together; each is imported when it is wanted, or when all of them are."""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from keyturn import __version__
from keyturn.cli.actor import acting_command
from keyturn.cli.contexts import CONTEXT, complete_context, take_context
from keyturn.cli.failures import EXIT_CODES, error_boundary
from keyturn.cli.guide import GROUPS, help_ending
from keyturn.cli.output import MANNER, write_text
from keyturn.core.acting import acting

COMMANDS: Final = {
    "up": "stack.up",
    "down": "stack.down",
    "status": "stack.status",
    "dashboard": "dashboard.dashboard",
    "env": "stack.env",
    "login": "login.login",
    "logout": "login.logout",
    "setup": "setup.commands",
    "context": "context.commands",
    "bootstrap": "registration.bootstrap",
    "rotate": "rotation.rotate",
    "rollback": "rollback.rollback_secret",
    "plan": "plan.plan",
    "apply": "plan.apply",
    "sync": "rotation.sync",
    "retire": "rotation.retire",
    "rotate-own-keys": "own_keys.rotate_own_keys",
    "keys": "keys.commands",
    "rename": "rename.rename",
    "forget": "rename.forget",
    "recover": "recover.recover",
    "rehydrate": "rehydrate.rehydrate",
    "failover": "failover.commands",
    "backup": "backup.commands",
    "restore": "restore.restore",
    "restore-drill": "restore.restore_drill",
    "history": "history.history",
    "scan": "scan.scan",
    "follow": "follow.follow",
    "serve": "serve.serve",
    "get": "get.get",
    "agent": "agent.agent",
    "revoke": "revoke.revoke",
    "drill": "drill.drill",
    "whois": "whois.whois",
    "offboard": "offboard.offboard",
    "share": "share.commands",
    "incidents": "incidents.incidents",
    "access": "access.commands",
    "approve": "approvals.approve",
    "review": "approvals.review",
    "due": "due.show_due",
    "doctor": "doctor.doctor",
    "explain": "explain.explain",
    "version": "version.version",
    "init": "init.init",
    "import": "scan.import_from_store",
    "investigate": "investigate.investigate",
    "unused": "unused.unused",
    "monitor": "monitor.commands",
    "report": "report.commands",
    "catalogue": "catalogue.commands",
    "ledger": "ledger.commands",
    "trail": "trail.commands",
    "policy": "policy.commands",
    "pki": "pki.commands",
    "hub": "hub.commands",
    "exec": "exec.run_program",
    "render": "render.render_files",
}
"""Each command, or group of commands, and what it is in which module here."""

WRAPPERS: Final = {"exec"}
"""What is followed by another command, whose options are its own."""

CONTEXT_OPTION: Final = "--context"
QUIET_OPTIONS: Final = ("-q", "--quiet")

SHORT: Final = 66
"""Characters of what each command is said to do."""


def wanted_command(words: list[str]) -> str:
    """The command behind the options that all share; empty where a command line does not begin with one."""
    at = 0
    while at < len(words):
        if words[at] == CONTEXT_OPTION:
            at += 2
        elif words[at] in QUIET_OPTIONS or words[at].startswith(f"{CONTEXT_OPTION}="):
            at += 1
        else:
            return words[at] if words[at] in COMMANDS else ""
    return ""


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


def tell_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        write_text(f"keyturn {__version__}")
        raise typer.Exit


def keyturn(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Print the version.")
    ] = False,
    context_name: Annotated[
        str | None,
        typer.Option(
            CONTEXT_OPTION,
            metavar="NAME",
            help=f"Which context to use; that of {CONTEXT}, or the file's current one, by default.",
            autocompletion=complete_context,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option(*QUIET_OPTIONS, help="On stderr nothing but errors and their remedies.")
    ] = False,
) -> None:
    """Keyturn rotates secrets and keeps every copy of them the same.

    Where VAULT_ADDR is not set and the local stack runs, every command uses the stack.
    """
    MANNER.quiet = quiet
    context.call_on_close(forget_manner)
    command = context.invoked_subcommand or ""
    acting.set(acting_command(command))
    take_context(context_name, command)


def forget_manner() -> None:
    """The next command line of this process begins anew."""
    MANNER.quiet = MANNER.wide = False


def make_app(only: str = "") -> typer.Typer:
    """The command line with all its commands, or with the one that is known to be wanted: it need not wait for others.

    Help, completion and advice about a wrong name need all of them.
    """
    app = typer.Typer(
        cls=Commands,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(keyturn)
    for name in [only] if only else COMMANDS:
        module, _, function = COMMANDS[name].partition(".")
        command = getattr(import_module(f"keyturn.cli.{module}"), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            own = {"allow_interspersed_args": False} if name in WRAPPERS else None
            app.command(name, epilog=help_ending(name), context_settings=own)(command)
    return app
