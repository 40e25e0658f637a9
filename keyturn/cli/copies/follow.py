"""``keyturn follow``: changes in the hub reach their copies within seconds."""

import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import catalogue_directory, load_catalogue, opened_workspace
from keyturn.cli.failures import say
from keyturn.cli.options import CatalogueOption
from keyturn.cli.output import note
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keyturn.core.ports.hub import Hub
    from keyturn.rotation.state.context import Workspace
    from keyturn.sync.changes import ChangeSource

POLL: Final = "5s"

AuditFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", envvar="KEYTURN_FOLLOW_AUDIT_FILE", help="Follow the hub's audit file instead of asking it."
    ),
]
PositionOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="KEYTURN_FOLLOW_POSITION",
        help="Where the position in the audit file is kept; by default next to it.",
    ),
]
PollOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION", envvar="KEYTURN_FOLLOW_POLL", help="How often the hub's versions are listed, such as 5s."
    ),
]
AliveOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="KEYTURN_FOLLOW_ALIVE_FILE",
        help="Touched whenever the hub's changes could be seen, for checks of whether this is well.",
    ),
]


def follow(
    audit_file: AuditFileOption = None,
    position: PositionOption = None,
    poll: PollOption = POLL,
    alive_file: AliveOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Push every change in the hub to its copies within seconds, until Ctrl-C or SIGTERM.

    Reads changes from the hub's audit file if you give one, and otherwise lists the hub's versions. Prints a line for
    each copy that was written or failed. A failed copy is retried, and then left to the scheduled sync.
    """
    every = seconds(poll)
    with opened_workspace(catalogue) as workspace, ended_by_signals() as stop:
        from keyturn.sync.follow import Follower

        latest = Latest(workspace, catalogue)
        source = source_of(latest, audit_file, position, every)
        note(f"ready: following {audit_file}" if audit_file else f"ready: asking the hub every {poll}")
        Follower(latest, source, note, alive_file.touch if alive_file else lambda: None).run(stop)
    note("ended")


def seconds(poll: str) -> float:
    """The duration in seconds. Reports wrong usage if it is malformed or zero."""
    from keyturn.settings.durations import parse

    try:
        every = parse(poll).total_seconds()
    except ValueError:
        every = 0.0
    if not every:
        raise typer.BadParameter("write a duration of a second or more, such as 5s", param_hint="--poll")
    return every


def source_of(latest: "Latest", audit_file: Path | None, position: Path | None, every: float) -> "ChangeSource":
    """The audit file, or else the hub itself; both use the mounts of the latest catalogue."""
    from keyturn.settings.hub import HubSettings
    from keyturn.sync.audit_file import AuditFile
    from keyturn.sync.changes import AuditLines, Polling

    if audit_file is None:
        return Polling(latest.hub, every)
    settings = HubSettings.from_environment()
    position_file = position or audit_file.with_name(f"{audit_file.name}.keyturn")

    def changed(line: bytes) -> str | None:
        return AuditLines(settings.mount, settings.namespace or "", latest.hub().mounts).changed(line)

    return AuditFile(audit_file, position_file, changed)


@contextmanager
def ended_by_signals() -> "Iterator[threading.Event]":
    """An event that SIGINT and SIGTERM set instead of their usual effect."""
    stop = threading.Event()

    def end(*_: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Latest:
    """The workspace, with the catalogue read again when its files change.

    A broken catalogue is reported, and the previous one stays in use. Thread-safe.
    """

    def __init__(self, workspace: "Workspace", catalogue: Path | None) -> None:
        self._workspace = workspace
        self._catalogue = catalogue
        self._directory = catalogue_directory(catalogue)
        self._stamp = self._look()
        self._lock = threading.Lock()

    def __call__(self) -> "Workspace":
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read()
            return self._workspace

    def hub(self) -> "Hub":
        """The hub, with the mounts of the catalogue that was read last."""
        return self._workspace.hub

    def _read(self) -> None:
        from keyturn.wiring.registry import open_workspace

        try:
            self._workspace = open_workspace(load_catalogue(self._catalogue), self._workspace.hub)
        except KeyturnError as error:
            note("the catalogue has changed and can't be used; the one before is kept")
            return say(error)
        return note("the catalogue has changed and was read again")

    def _look(self) -> list[tuple[str, int, int]]:
        try:
            files = sorted(os.scandir(self._directory), key=lambda file: file.name)
            return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        except OSError:
            return []  # reading the catalogue reports the cause
