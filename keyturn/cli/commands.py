"""The commands, put together; each is imported when it is wanted, or when all of them are."""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from keyturn import __version__
from keyturn.cli.actor import acting_command
from keyturn.cli.failures import EXIT_CODES, error_boundary
from keyturn.cli.output import MANNER, write_text
from keyturn.cli.setup.contexts import CONTEXT, complete_context, take_context
from keyturn.cli.setup.guide import GROUPS, help_ending
from keyturn.core.actor import acting

COMMANDS: Final = {
    "up": "local.stack:up",
    "down": "local.stack:down",
    "status": "secrets.status_command:status",
    "dashboard": "secrets.dashboard:dashboard",
    "env": "local.stack:env",
    "login": "setup.login:login",
    "logout": "setup.login:logout",
    "setup": "setup.commands:commands",
    "context": "setup.context:commands",
    "bootstrap": "setup.registration:bootstrap",
    "rotate": "secrets.rotation:rotate",
    "rollback": "secrets.rollback:rollback_secret",
    "plan": "copies.plan:plan",
    "apply": "copies.plan:apply",
    "sync": "secrets.rotation:sync",
    "retire": "secrets.rotation:retire",
    "rotate-own-keys": "keys.own_keys:rotate_own_keys",
    "keys": "keys.commands:commands",
    "rename": "secrets.rename:rename",
    "forget": "secrets.rename:forget",
    "recover": "secrets.recover:recover",
    "rehydrate": "secrets.rehydrate:rehydrate",
    "failover": "recovery.failover:commands",
    "backup": "recovery.backup:commands",
    "restore": "recovery.restore:restore",
    "restore-drill": "recovery.restore:restore_drill",
    "history": "secrets.history:history",
    "scan": "copies.scan:scan",
    "follow": "copies.follow:follow",
    "serve": "running.serve:serve",
    "get": "secrets.get:get",
    "agent": "programs.agent:agent",
    "revoke": "emergencies.revoke:revoke",
    "drill": "emergencies.drill:drill",
    "whois": "emergencies.whois:whois",
    "offboard": "organisations.offboard:offboard",
    "share": "organisations.share:commands",
    "incidents": "emergencies.incidents:incidents",
    "access": "access.commands:commands",
    "approve": "emergencies.approvals:approve",
    "review": "emergencies.approvals:review",
    "due": "secrets.due:show_due",
    "doctor": "running.doctor:doctor",
    "explain": "running.explain:explain",
    "version": "running.version:version",
    "init": "catalogue.init:init",
    "import": "copies.scan:import_from_store",
    "investigate": "readers.investigate:investigate",
    "unused": "readers.unused:unused",
    "monitor": "readers.monitor:commands",
    "report": "catalogue.report:commands",
    "catalogue": "catalogue.commands:commands",
    "ledger": "ledger.commands:commands",
    "trail": "readers.trail_commands:commands",
    "policy": "setup.policy:commands",
    "pki": "setup.pki:commands",
    "hub": "setup.hub_commands:commands",
    "exec": "programs.exec:run_program",
    "render": "programs.render:render_files",
}
"""Each command or group of commands: its module below `keyturn.cli`, and the name in it."""

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
        module, _, function = COMMANDS[name].partition(":")
        command = getattr(import_module(f"keyturn.cli.{module}"), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            own = {"allow_interspersed_args": False} if name in WRAPPERS else None
            app.command(name, epilog=help_ending(name), context_settings=own)(command)
    return app
