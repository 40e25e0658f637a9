"""The command line's app, which imports each command when it is called."""

import os
import pwd
import socket
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from keyturn import __version__
from keyturn.cli.failures import EXIT_CODES, error_boundary
from keyturn.cli.former_names import STILL_RUN, current_words
from keyturn.cli.local_stack import PACKAGE, load_local
from keyturn.cli.output import MANNER, note, write_text
from keyturn.cli.setup.contexts import CONTEXT, complete_context, take_context
from keyturn.cli.setup.guide import FIRST_WEEK, GROUPS, SUMMARIES, help_ending
from keyturn.core.actor import Acting, acting

COMMANDS: Final = {
    "up": "local.commands:up",
    "down": "local.commands:down",
    "status": "secrets.status:status",
    "dashboard": "secrets.dashboard:dashboard",
    "env": "local.commands:env",
    "demo": "local.commands:demo",
    "login": "setup.login:login",
    "logout": "setup.login:logout",
    "setup": "setup.commands:commands",
    "context": "setup.context:commands",
    "rotate": "secrets.rotation:rotate",
    "rollback": "secrets.rollback:rollback_secret",
    "plan": "copies.plan:plan",
    "apply": "copies.plan:apply",
    "sync": "secrets.rotation:sync",
    "retire": "secrets.rotation:retire",
    "keys": "keys.commands:commands",
    "repair": "secrets.repair:commands",
    "failover": "recovery.failover:commands",
    "backup": "recovery.commands:commands",
    "history": "secrets.history:history",
    "scan": "copies.scan:scan",
    "follow": "copies.follow:follow",
    "serve": "running.serve:serve",
    "get": "secrets.get:get",
    "agent": "programs.agent:agent",
    "proxy": "programs.proxy:proxy",
    "mcp": "programs.mcp:mcp",
    "revoke": "emergencies.revoke:revoke",
    "drill": "local.drill_command:drill",
    "whois": "emergencies.whois:whois",
    "kill": "emergencies.kill:kill",
    "offboard": "organisations.offboard:offboard",
    "share": "organisations.share:commands",
    "incidents": "emergencies.incidents:incidents",
    "slo": "emergencies.slo:slo",
    "fade": "secrets.fade:fade",
    "access": "access.commands:commands",
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
    "recipe": "catalogue.recipes:commands",
    "store": "catalogue.stores:commands",
    "ledger": "ledger.commands:commands",
    "trail": "readers.trail_commands:commands",
    "policy": "setup.policy:commands",
    "pki": "setup.pki:commands",
    "exec": "programs.exec:run_program",
    "render": "programs.render:render_files",
}
"""Each command or group: its module below `keyturn.cli` or in `local`, and its name there."""

WRAPPERS: Final = {"exec"}
"""Commands followed by another command with options of its own."""
CONTEXT_OPTION: Final = "--context"
COMPLETION: Final = "_KEYTURN_COMPLETE"
"""The variable by which a shell requests completions."""
QUIET_OPTIONS: Final = ("-q", "--quiet")

ALL_OPTION: Final = "--all"
CHANGES: Final = "keyturn.changed_names"
"""Where a context keeps what to print about former names."""


def first_place(words: list[str]) -> int:
    """The index of the word after the options that all commands share."""
    at = 0
    while at < len(words):
        if words[at] == CONTEXT_OPTION:
            at += 2
        elif words[at] in QUIET_OPTIONS or words[at].startswith(f"{CONTEXT_OPTION}="):
            at += 1
        else:
            break
    return min(at, len(words))


def imported_first(words: list[str]) -> Iterable[str]:
    """The commands that this command line imports: all of them for advice about an unknown one, and for completion."""
    current, _ = current_words(words[first_place(words) :])
    word = current[0] if current else ""
    if word in COMMANDS:
        return [word]
    if (not word or word.startswith("-")) and COMPLETION not in os.environ:
        return []
    return [name for name, place in COMMANDS.items() if not place.startswith(f"{PACKAGE}.")]


class Commands(TyperGroup):
    """The commands in groups, imported when called. Each ends with an exit code and one line for any error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether help is to list every command, and replace former names by today's."""
        ctx.meta[ALL_OPTION] = ALL_OPTION in args
        at = first_place(args)
        current, ctx.meta[CHANGES] = current_words(args[at:])
        return super().parse_args(ctx, [*args[:at], *current])

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return [name for name in COMMANDS if name not in STILL_RUN]

    def get_command(self, ctx: Any, name: str) -> Any:
        if name in self.commands or name not in COMMANDS:
            return self.commands.get(name)
        return typer.main.get_command(make_app([name])).commands[name]  # type: ignore[attr-defined]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups = GROUPS if ctx.meta.get(ALL_OPTION) else {"Commands": FIRST_WEEK}
        for heading, names in groups.items():
            with formatter.section(heading):
                formatter.write_dl([(name, SUMMARIES[name]) for name in names])
        if groups is not GROUPS:
            formatter.write_paragraph()
            formatter.write_text(f"`keyturn --help {ALL_OPTION}` lists every command.")

    def invoke(self, ctx: Any) -> Any:
        with error_boundary():
            return super().invoke(ctx)


def tell_version(wanted: bool) -> None:
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
    everything: Annotated[bool, typer.Option(ALL_OPTION, help="With --help: list every command.")] = False,
    quiet: Annotated[
        bool, typer.Option(*QUIET_OPTIONS, help="On stderr nothing but errors and their remedies.")
    ] = False,
) -> None:
    """Keyturn rotates secrets and keeps every copy of them the same.

    Where VAULT_ADDR is not set and the local stack runs, every command uses the stack.
    """
    MANNER.quiet = quiet
    for change in context.meta.get(CHANGES, []):
        note(f"{change}; the former name goes with the next release")
    context.call_on_close(forget_manner)
    command = context.invoked_subcommand or ""
    acting.set(acting_command(command))
    take_context(context_name, command)


def acting_command(command: str) -> Acting:
    """Describe the process that runs ``command``. The user comes from its uid, not from environment variables."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return Acting(f"keyturn {command}, process {os.getpid()}", f"{user}@{socket.gethostname()}")


def forget_manner() -> None:
    MANNER.quiet = MANNER.wide = False


def module_of(place: str) -> ModuleType:
    """Import a command's module. Raises Invalid if it belongs to `keyturn-local` and that is not installed."""
    package, _, name = place.partition(".")
    return load_local(name) if package == PACKAGE else import_module(f"keyturn.cli.{place}")


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Build the command line. Only the commands in ``names`` are imported now."""
    app = typer.Typer(
        cls=Commands,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(keyturn)
    for name in names:
        module, _, function = COMMANDS[name].partition(":")
        command = getattr(module_of(module), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            own = {"allow_interspersed_args": False} if name in WRAPPERS else None
            app.command(name, epilog=help_ending(name), context_settings=own, hidden=name in STILL_RUN)(command)
    return app
