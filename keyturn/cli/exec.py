"""``keyturn exec``: a program that knows nothing of Keyturn, with secrets in its environment or in files."""

import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli import INHERITED
from keyturn.cli.failures import NOT_RUN, end_command
from keyturn.cli.options import CatalogueOption
from keyturn.cli.output import note
from keyturn.cli.programs import (
    DiskOption,
    FileOption,
    ModeOption,
    SourceOption,
    WaitOption,
    file_named,
    files_of,
    insist_on_places,
    mode_of,
    open_program_client,
    pair_of,
    put_once,
    reference_of,
    seconds_of,
    with_patience,
    wrong,
)
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    from keyturn.client.client import SecretClient
    from keyturn.client.webhook import Receiver
    from keyturn.core.notices import Notice
    from keyturn.programs.follower import Follower
    from keyturn.programs.listener import Listener
    from keyturn.programs.reactions import Reaction
    from keyturn.programs.references import FieldReference
    from keyturn.programs.rendering import Declaration, Rendering
    from keyturn.programs.supervisor import Supervisor
    from keyturn.programs.templates import Template

FILES: Final = "KEYTURN_FILES"
"""The variable that tells the program where its files are."""

OWN: Final = ("VAULT_TOKEN", "BAO_TOKEN", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY")
OWN_PREFIX: Final = "KEYTURN_"
"""The login to the hub, and what else is Keyturn's own: settings, and addresses with passwords in them."""

VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class OnRevoked(StrEnum):
    """What becomes of the program when a notice tells that what it holds has ended, and that nothing replaces it."""

    KEEP = "keep"
    STOP = "stop"


CommandArgument = Annotated[list[str], typer.Argument(metavar="CMD [ARGS]...", help="The program, behind `--`.")]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=PATH#FIELD", help="A field as a variable. May be repeated, as all of these."),
]
EnvAllOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env-all", metavar="PREFIX=PATH", help="All fields of a secret, as PREFIX and their names in capitals."
    ),
]
TemplateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="SOURCE:DEST[:ACTION]",
        help="A Jinja2 template as a file, and what is done when it changes, if not --on-change; or a command.",
    ),
]
OnChangeOption = Annotated[
    str, typer.Option("--on-change", metavar="restart|signal:NAME|ignore", help="What CMD gets of another version.")
]
OnRevokedOption = Annotated[
    OnRevoked, typer.Option("--on-revoked", help="What becomes of CMD when nothing replaces a secret that was revoked.")
]
GraceOption = Annotated[
    str, typer.Option("--grace", metavar="DURATION", help="How long CMD may take to end before it is killed.")
]
SettleOption = Annotated[
    str, typer.Option("--settle", metavar="DURATION", help="How long CMD has to live until a change has succeeded.")
]
PollOption = Annotated[
    str, typer.Option("--poll", metavar="DURATION", help="How often secrets are read again; 0s for never.")
]
KeepLoginOption = Annotated[bool, typer.Option("--keep-login", help="Leave Keyturn's own variables to CMD.")]
ReceiveOption = Annotated[
    str | None,
    typer.Option("--receive", metavar="HOST:PORT", help="Take notices there; answered when CMD has the new version."),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option("--webhook-key-file", metavar="FILE", help="The keys that notices may be signed with, one a line."),
]
KeyPathOption = Annotated[
    str | None,
    typer.Option("--webhook-key", metavar="PATH", help="Where they are in the hub, such as webhooks/trainer."),
]
CertificateOption = Annotated[
    Path | None, typer.Option("--receive-cert", metavar="FILE", help="Take them over TLS, with this certificate (PEM).")
]
PrivateKeyOption = Annotated[Path | None, typer.Option("--receive-key", metavar="FILE", help="Its key (PEM).")]


def run_program(
    command: CommandArgument,
    env: EnvOption = None,
    env_all: EnvAllOption = None,
    file: FileOption = None,
    template: TemplateOption = None,
    on_change: OnChangeOption = "restart",
    on_revoked: OnRevokedOption = OnRevoked.KEEP,
    grace: GraceOption = "10s",
    settle: SettleOption = "1s",
    poll: PollOption = "1m",
    wait: WaitOption = "0s",
    source: SourceOption = None,
    keep_login: KeepLoginOption = False,
    allow_disk: DiskOption = False,
    mode: ModeOption = "0600",
    receive: ReceiveOption = None,
    webhook_key_file: KeyFileOption = None,
    webhook_key: KeyPathOption = None,
    receive_cert: CertificateOption = None,
    receive_key: PrivateKeyOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Run CMD with secrets in its environment or in files, and bring it every new version of them.

    Nothing of them is in its arguments, nor on a disk: files lie in a directory in memory that KEYTURN_FILES names,
    for this user alone, and are gone when CMD ends. Signals go to CMD, and its exit code is passed on.
    """
    end_when_told()
    with told_as_not_run(), ExitStack() as opened:
        order = Order(
            opened, tuple(command), tuple(env or ()), tuple(env_all or ()), tuple(file or ()), tuple(template or ()),
            on_change, allow_disk, mode_of(mode), keep_login, on_revoked is OnRevoked.STOP,
        )  # fmt: skip
        times = Times(
            seconds_of(grace, "--grace"),
            seconds_of(settle, "--settle"),
            seconds_of(poll, "--poll"),
            seconds_of(wait, "--wait"),
        )
        order.check(bool(receive))
        # It is not closed: that waits for what is being read, and everything ends with this process.
        client = open_program_client(source, catalogue)
        listening = None
        if receive:
            keys = receiver_of(webhook_key_file, webhook_key)
            listening = partial(listener_at, address_of(receive), keys, receive_cert, receive_key)
        code = carry_out(order, times, client, listening)
    raise typer.Exit(code)


@dataclass(frozen=True)
class Times:
    """All in seconds."""

    grace: float
    settle: float
    poll: float
    wait: float


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line."""

    opened: ExitStack
    command: Sequence[str]
    env: Sequence[str]
    env_all: Sequence[str]
    file: Sequence[str]
    template: Sequence[str]
    on_change: str
    allow_disk: bool
    mode: int
    keep_login: bool
    stop_revoked: bool = False

    @cached_property
    def directory(self) -> Path:
        """The directory of the files that have no path of their own; made when it is first asked for."""
        from keyturn.programs.private_directory import PrivateDirectory

        return self.opened.enter_context(PrivateDirectory(on_disk=self.allow_disk)).path

    @cached_property
    def reaction(self) -> "Reaction":
        """What is done where nothing else is said."""
        from keyturn.programs.reactions import Reaction

        try:
            return Reaction.parse(self.on_change)
        except ValueError as error:
            raise wrong("--on-change", str(error)) from None

    @cached_property
    def templates(self) -> "dict[Path, tuple[Template, Reaction]]":
        """Each file that a template makes, and what is done when it changes."""
        from keyturn.programs.reactions import Reaction
        from keyturn.programs.templates import Template

        templates: dict[Path, tuple[Template, Reaction]] = {}
        for text in self.template:
            source, name, *action = [*text.split(":", 2), ""][:3]
            if not (source and name):
                raise wrong("--template", "write SOURCE:DEST, or SOURCE:DEST:ACTION")
            try:
                reaction = Reaction.parse_any(action[0]) if action[0] else self.reaction
            except ValueError as error:
                raise wrong("--template", str(error)) from None
            place = file_named(name, lambda: self.directory, "--template")
            put_once(templates, place, (Template.load(Path(source)), reaction), "--template")
        return templates

    @cached_property
    def files(self) -> "dict[Path, FieldReference]":
        """Each file that holds a field."""
        return files_of(self.file, lambda: self.directory)

    @cached_property
    def declaration(self) -> "Declaration":
        """What the program is given."""
        from keyturn.programs.rendering import Declaration

        variables = {}
        for text in self.env:
            name, reference = pair_of(text, "--env", "NAME=PATH#FIELD")
            variables[variable(name, "--env")] = reference_of(reference, "--env")
        prefixes = {}
        for text in self.env_all:
            prefix, path = pair_of(text, "--env-all", "PREFIX=PATH, such as DB_=ml-training/database")
            prefixes[variable(prefix, "--env-all")] = path
        templates = {place: template for place, (template, _) in self.templates.items()}
        return Declaration(variables, prefixes, self.files, templates, self.mode)

    def check(self, receiving: bool) -> None:
        """Refuse what can't be kept: nothing to give, and changes that the program would not hear of."""
        declared = self.declaration
        variables = bool(declared.variables or declared.prefixes)
        reactions = [*([self.reaction] if self.files else []), *(reaction for _, reaction in self.templates.values())]
        if not (variables or reactions):
            raise wrong("--env", "say what CMD is to be given: --env, --env-all, --file or --template")
        if twice := set(self.files) & set(self.templates):
            raise wrong("--template", f"{min(twice)} is given twice")
        if variables and self.reaction.number:
            raise wrong("--on-change", "variables change by a restart alone; with a signal, give files")
        heard = all(reaction.tells for reaction in reactions) and (self.reaction.restart or not variables)
        if receiving and not heard:
            raise wrong("--receive", "a notice can't be acknowledged where CMD is not told of a change")
        insist_on_places(list(self.files), self.allow_disk)

    def environment(self) -> dict[str, str]:
        """What the program gets beside its secrets: what this process was given, without Keyturn's own."""
        inherited = {name: text for name, text in INHERITED.items() if self.keep_login or not is_own(name)}
        own = self.opened_directory
        return {**inherited, **({FILES: str(own)} if own else {})}

    @property
    def opened_directory(self) -> Path | None:
        """The directory, where one was made."""
        return self.__dict__.get("directory")


def variable(name: str, option: str) -> str:
    """A name that a variable can have."""
    if not VARIABLE.fullmatch(name):
        raise wrong(option, f"{name} can't be a variable: letters, digits and _ only, no digit first")
    return name


def is_own(name: str) -> bool:
    """Whether a variable is Keyturn's own."""
    return name in OWN or name.startswith(OWN_PREFIX)


def carry_out(order: Order, times: Times, client: "SecretClient", listening: "Callable[[Any], Listener] | None") -> int:
    """Run it, with all that follows its secrets, and return its exit code. Raises KeyturnError."""
    from keyturn.programs.outputs import remove_outputs
    from keyturn.programs.supervisor import Program, Supervisor

    rendering = with_patience(lambda: order.declaration.render(client), times.wait)
    reactions = {place: reaction for place, (_, reaction) in order.templates.items()}
    program = Program(order.command, order.environment(), order.reaction, reactions, times.grace, times.settle)
    supervisor = Supervisor(program, note)
    follower = follower_of(order, times, client, rendering, supervisor)
    order.opened.callback(follower.stop)
    order.opened.callback(lambda: remove_outputs([each for each in supervisor.outputs if each.file in order.files]))
    listener = order.opened.enter_context(listening(follower.told)) if listening else None

    def begun() -> None:
        follower.begin()
        if listener:
            listener.begin()
            note(f"ready: notices are taken at port {listener.port}")

    return supervisor.run(rendering, begun)


def follower_of(
    order: Order, times: Times, client: "SecretClient", rendering: "Rendering", supervisor: "Supervisor"
) -> "Follower":
    """Whoever looks for changes, and hands them to the supervisor."""
    from keyturn.programs.follower import PATIENCE, Follower

    longest = times.grace + times.settle + PATIENCE
    return Follower(
        client,
        order.declaration,
        rendering,
        supervisor.submit,
        lambda: supervisor.unfinished,
        note,
        times.poll,
        longest,
        stop_revoked=order.stop_revoked,
    )


def address_of(text: str) -> tuple[str, int]:
    """Host and port."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise wrong("--receive", "write HOST:PORT, such as 127.0.0.1:8443")
    return host, int(port)


def receiver_of(key_file: Path | None, key_path: str | None) -> "Receiver":
    """Whoever checks notices: by keys in a file, read anew for each, or by those in the hub."""
    from keyturn.client.webhook import Receiver

    if (key_file is None) is (key_path is None):
        raise wrong("--receive", "give --webhook-key-file or --webhook-key")
    if key_path is not None:
        from keyturn.client.webhook_keys import HubKeys
        from keyturn.providers.vault.hub import VaultHub
        from keyturn.settings.hub import HubSettings

        return Receiver(HubKeys(VaultHub(HubSettings.from_environment()), key_path))
    return Receiver(partial(keys_in, Path(str(key_file))))


def keys_in(file: Path) -> list[Any]:
    """The keys of a file, one a line. Raises KeyturnError."""
    from keyturn.core.sensitive import Sensitive
    from keyturn.programs.outputs import naming

    with naming(file):
        return [Sensitive(line) for line in file.read_text().split()]


def listener_at(
    address: tuple[str, int],
    receiver: "Receiver",
    certificate: Path | None,
    key: Path | None,
    on_notice: "Callable[[Notice], object]",
) -> "Listener":
    """The address taken. Raises Invalid."""
    from keyturn.programs.listener import Listener, server_tls

    if (certificate is None) is not (key is None):
        raise wrong("--receive-cert", "give --receive-cert with --receive-key")
    tls = server_tls(certificate, key) if certificate and key else None
    return Listener(address, receiver, on_notice, tls)


@contextmanager
def told_as_not_run() -> Iterator[None]:
    """What keeps the program from being run ends with a code that it does not end with itself."""
    try:
        yield
    except KeyturnError as error:
        end_command(error, getattr(error, "code", NOT_RUN))


def end_when_told() -> None:
    """Before the program runs, SIGTERM ends this process, the first one of a container too."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
