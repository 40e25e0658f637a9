"""Options and helpers that `keyturn exec` and `keyturn render` share: naming secrets, and opening a client."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from keyturn.cli.output import note
from keyturn.core.errors import Invalid, TransientError

if TYPE_CHECKING:
    from keyturn.client.client import SecretClient
    from keyturn.client.offline.port import Offline
    from keyturn.programs.references import FieldReference

K = TypeVar("K")
T = TypeVar("T")

FileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="FILE=PATH#FIELD",
        help="A field as a file: a name in a private directory, or an absolute path on a tmpfs. May be repeated.",
    ),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="NAME",
        help="Where secrets are read: hub, its address elsewhere, or a store of the catalogue; in this order.",
    ),
]
WaitOption = Annotated[
    str, typer.Option("--wait", metavar="DURATION", help="Wait so long for sources that don't answer, such as 5m.")
]
ModeOption = Annotated[str, typer.Option("--mode", metavar="MODE", help="The files' mode; not readable by others.")]
DiskOption = Annotated[bool, typer.Option("--allow-disk", help="Allow files on a disk, where they may be left behind.")]

CertOption = Annotated[Path | None, typer.Option("--cert", metavar="FILE", help="The certificate for --listen, PEM.")]
KeyOption = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Its private key, PEM.")]

PAUSE: Final = 1.0
"""Seconds between two attempts."""


def wrong(option: str, problem: str) -> typer.BadParameter:
    return typer.BadParameter(problem, param_hint=option)


def insist_on_http(what: str, extra: str) -> None:
    try:
        import h11  # noqa: F401
        import httptools  # noqa: F401
    except ModuleNotFoundError as error:
        raise Invalid("start", what, f"the package {error.name} is missing", f"Install keyturn[{extra}]") from None


def seconds_of(text: str, option: str) -> float:
    from keyturn.settings.durations import parse

    try:
        return parse(text).total_seconds()
    except ValueError:
        raise wrong(option, "write a duration such as 10s or 5m") from None


def mode_of(text: str, option: str = "--mode") -> int:
    """Parse an octal mode that grants nothing to all users."""
    mode = int(text, 8) if text.isdigit() and not set(text) & set("89") else -1
    if not 0o400 <= mode <= 0o770 or mode & 0o007:
        raise wrong(option, "write an octal mode such as 0600 or 0640, which gives nothing to all users")
    return mode


def pair_of(text: str, option: str, shape: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise wrong(option, f"write {shape}")
    return name, value


def reference_of(text: str, option: str) -> "FieldReference":
    from keyturn.programs.references import FieldReference

    try:
        return FieldReference.parse(text)
    except ValueError as error:
        raise wrong(option, str(error)) from None


def file_named(name: str, directory: Callable[[], Path], option: str) -> Path:
    """Return an absolute path normalised, and a plain name in the directory."""
    if os.path.isabs(name):
        return Path(os.path.abspath(name))
    if "/" in name or name in (".", ".."):
        raise wrong(option, "name a file with an absolute path, or without slashes")
    return directory() / name


def files_of(options: Sequence[str], directory: Callable[[], Path]) -> "dict[Path, FieldReference]":
    files: dict[Path, FieldReference] = {}
    for text in options:
        name, reference = pair_of(text, "--file", "FILE=PATH#FIELD")
        put_once(files, file_named(name, directory, "--file"), reference_of(reference, "--file"), "--file")
    return files


def put_once(there: dict[K, T], name: K, value: T, option: str) -> None:
    if name in there:
        raise wrong(option, f"{name} is given twice")
    there[name] = value


def insist_on_places(files: Sequence[Path], allow_disk: bool) -> None:
    from keyturn.programs.outputs import naming
    from keyturn.programs.private_directory import insist_on_memory

    for file in [] if allow_disk else files:
        with naming(file):
            insist_on_memory(file.parent)


def open_program_client(
    sources: list[str] | None, catalogue: Path | None, offline: "Offline | None" = None, restricted: Sequence[str] = ()
) -> "SecretClient":
    """Open a client of these sources that does not poll for new versions. Raises Invalid or Unavailable."""
    from keyturn.cli.environment import insist_on_hub
    from keyturn.client.offline.port import NOTHING_OFFLINE
    from keyturn.client.policy import RESTRICTED
    from keyturn.wiring.sources import HUB, open_client, source_names

    names = sources or source_names()
    if HUB in names:
        insist_on_hub()
    policies = dict.fromkeys(restricted, RESTRICTED)
    return open_client(names, catalogue=catalogue, policies=policies, poll=0, offline=offline or NOTHING_OFFLINE)


def with_patience(call: Callable[[], T], seconds: float) -> T:
    """Return what ``call`` returns, retrying TransientError for ``seconds``."""
    until = time.monotonic() + seconds
    waiting: Any = None
    while True:
        try:
            return call()
        except TransientError as error:
            if time.monotonic() >= until:
                raise
            if str(error) != waiting:
                note(f"waiting: {error}")
                waiting = str(error)
        time.sleep(PAUSE)
