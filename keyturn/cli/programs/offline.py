"""The encrypted offline file, for the commands that give programs their secrets."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.output import note
from keyturn.core.text.path_patterns import has_stars_beside

if TYPE_CHECKING:
    from keyturn.client.offline.port import Offline

OfflineOption = Annotated[
    Path | None,
    typer.Option(
        "--offline", metavar="DIR", help="Keep what was read in an encrypted file there, for a start in an outage."
    ),
]
OfflineKeyOption = Annotated[
    str | None,
    typer.Option(
        "--offline-key",
        metavar="KEY",
        help="What seals that file: file:PATH, kms:ARN, or transit:NAME@ADDRESS of another hub.",
    ),
]
OfflineHostOption = Annotated[
    str,
    typer.Option("--offline-host", metavar="NAME", help="What identifies this host instead of its machine id."),
]
RestrictedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--restricted",
        metavar="PATTERN",
        help="Never store these, nor serve them while no source answers; in addition to what the catalogue says.",
    ),
]

CLOSING: Final = 5.0
"""Seconds that a command waits at its end for pending writes."""


def open_offline(
    directory: Path | None, key: str | None, host: str, catalogue: Path | None, restricted: Sequence[str]
) -> "Offline":
    """Open the offline file, if requested. Raises Invalid for an unusable key; KMS and hubs are contacted later."""
    from keyturn.client.offline.port import NOTHING_OFFLINE

    if bool(directory) != bool(key):
        raise typer.BadParameter("--offline and --offline-key belong together", param_hint="--offline")
    if unfit := [pattern for pattern in restricted if has_stars_beside(pattern)]:
        raise typer.BadParameter(f"write ** alone between slashes, not as in {unfit[0]}", param_hint="--restricted")
    if not (directory and key):
        return NOTHING_OFFLINE
    from keyturn.client.offline.cache_file import OfflineCache
    from keyturn.providers.data_keys import open_envelope

    envelope = open_envelope(key)
    if not (catalogue or restricted):
        note(f"all that is read is stored in {directory}: neither --catalogue nor --restricted excludes anything")
    if key.startswith("transit:") and "@" not in key:
        note(f"while that hub is away, nothing opens {directory}: write {key}@ADDRESS of another hub")
    return OfflineCache(directory, lambda: envelope, host=host)


def within_seconds(call: Callable[[], object], seconds: float = CLOSING) -> None:
    """Call it in a thread and wait at most ``seconds``. The process may end before it returns."""
    thread = threading.Thread(target=call, name="keyturn-closing", daemon=True)
    thread.start()
    thread.join(seconds)
