"""``keyturn exec``: run a program with secrets in its environment or in files."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli.failures import NOT_RUN, end_command, error_boundary
from keyturn.cli.options import CatalogueOption
from keyturn.cli.programs.offline import (
    OfflineHostOption,
    OfflineKeyOption,
    OfflineOption,
    RestrictedOption,
    open_offline,
    within_seconds,
)
from keyturn.cli.programs.programs import (
    DiskOption,
    FileOption,
    ModeOption,
    SourceOption,
    WaitOption,
    mode_of,
    open_program_client,
    seconds_of,
    wrong,
)
from keyturn.core.errors import KeyturnError


class OnRevoked(StrEnum):
    """What happens to the program when a secret that it holds is revoked without a replacement."""

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
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-env", metavar="NAME", help="Pass this variable on to CMD, though it may log in; * is any text. Repeat."
    ),
]
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
    keep_env: KeepOption = None,
    allow_disk: DiskOption = False,
    mode: ModeOption = "0600",
    receive: ReceiveOption = None,
    webhook_key_file: KeyFileOption = None,
    webhook_key: KeyPathOption = None,
    receive_cert: CertificateOption = None,
    receive_key: PrivateKeyOption = None,
    catalogue: CatalogueOption = None,
    offline: OfflineOption = None,
    offline_key: OfflineKeyOption = None,
    offline_host: OfflineHostOption = "",
    restricted: RestrictedOption = None,
) -> None:
    """Run CMD with secrets in its environment or in files, and bring it every new version of them.

    No value is in its arguments or on a disk: files are in a directory in memory (KEYTURN_FILES), readable by this user
    only, and are removed when CMD ends. Signals go to CMD, and its exit code is passed on.
    """
    from keyturn.cli.programs.exec_order import Listening, Order, Times, carry_out

    end_when_told()
    times = Times(
        seconds_of(grace, "--grace"),
        seconds_of(settle, "--settle"),
        seconds_of(poll, "--poll"),
        seconds_of(wait, "--wait"),
    )
    with told_as_not_run(), ExitStack() as opened:
        lasting = open_offline(offline, offline_key, offline_host, catalogue, restricted or ())
        opened.callback(within_seconds, lasting.close)
        order = Order(
            opened, tuple(command), tuple(env or ()), tuple(env_all or ()), tuple(file or ()), tuple(template or ()),
            on_change, allow_disk, mode_of(mode), tuple(keep_env or ()), on_revoked is OnRevoked.STOP,
        )  # fmt: skip
        order.check(bool(receive))
        listening = Listening.parse(receive, webhook_key_file, webhook_key, receive_cert, receive_key)
        if order.stop_revoked and not (listening or times.poll):
            raise wrong("--on-revoked", "no change would be noticed: give --poll or --receive")
        # The client is not closed: that would wait for pending reads, and everything ends with this process.
        client = open_program_client(source, catalogue, lasting, restricted or ())
        code = carry_out(order, times, client, listening)
    raise typer.Exit(code)


@contextmanager
def told_as_not_run() -> Iterator[None]:
    """End with a code that the program itself does not use if it can't be run."""
    with error_boundary(NOT_RUN):
        try:
            yield
        except KeyturnError as error:
            end_command(error, getattr(error, "code", NOT_RUN))


def end_when_told() -> None:
    """Before the program runs, have SIGTERM end this process, even as process 1 of a container."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
