"""What has changed in the hub, told by its audit lines or by comparing its versions. Names only, never values."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.notice_state import made_at
from keyturn.core.ports.hub import Hub, SecretInfo, survey
from keyturn.core.text.audit_lines import AuditMount, decode_line

EVERYTHING: Final = "**"
"""Stands for all secrets at once, where a source can't tell which ones it has missed."""

WRITES: Final = frozenset({"create", "update", "patch", "delete"})
CHANGING: Final = {
    "data": WRITES,
    "delete": WRITES,
    "undelete": WRITES,
    "destroy": WRITES,
    "metadata": frozenset({"delete"}),
}
"""Which operations on a KV v2 mount change what CURRENT is. Source: "KV secrets engine version 2 (API)"."""


@dataclass(frozen=True)
class News:
    """What one look told: secrets that have changed, EVERYTHING among them where some may have been missed.

    ``unreadable`` counts lines that could not be read, ``more`` says that there is more to see at once. ``errors`` are
    why a part of the hub could not be looked at: what has changed there is told once it can be.
    """

    paths: frozenset[str] = frozenset()
    unreadable: int = 0
    more: bool = False
    errors: tuple[KeyturnError, ...] = ()


class ChangeSource(Protocol):
    """Tells of changes in the hub. Used by one thread."""

    pause: float
    """Seconds between two looks."""

    def look(self) -> News:
        """What has changed since the last look. Raises what keeps it from looking."""

    def keep(self, pending: Collection[str]) -> None:
        """Remember over a restart what was seen, and which of it is not dealt with yet."""

    def close(self) -> None:
        """Let go of what is open."""


@dataclass(frozen=True)
class AuditLines(AuditMount):
    """Reads the audit lines of Vault and OpenBao for changes in the KV v2 mounts of one namespace."""

    def changed(self, line: bytes) -> str | None:
        """The secret that the line tells a change of; None for any other line. Raises ValueError for no such line."""
        audit_line = decode_line(line)
        request = audit_line.request
        if audit_line.type != "response" or audit_line.error or request is None:
            return None
        kind, path = self.place(request) or ("", "")
        return path if request.operation in CHANGING.get(kind, ()) else None


class Polling:
    """A :class:`ChangeSource` that lists the hub's versions every ``pause`` seconds. ``hub`` gives the one to ask now.

    Nothing is kept over a restart: the first look stands for everything.
    """

    def __init__(self, hub: Callable[[], Hub], pause: float = 5.0) -> None:
        self.pause = pause
        self._hub = hub
        self._known: dict[str, tuple[int, str, bool]] | None = None

    def look(self) -> News:
        """Every secret whose version, or whether that can be read, differs from the last look; those gone too."""
        secrets = survey(self._hub())
        now = {path: state_of(info) for path, info in secrets.items()}
        before, errors = self._known, tuple(secrets.unread.values())
        self._known = now | {path: state for path, state in (before or {}).items() if secrets.error(path)}
        if before is None:
            return News(frozenset({EVERYTHING}), errors=errors)
        paths = self._known.keys() | before.keys()
        return News(frozenset(path for path in paths if self._known.get(path) != before.get(path)), errors=errors)

    def keep(self, pending: Collection[str]) -> None:
        """Nothing: the first look after a restart stands for everything."""

    def close(self) -> None:
        """Nothing is open."""


def state_of(info: SecretInfo) -> tuple[int, str, bool]:
    """The newest version, when it was made, since numbers are used again, and whether it can be read."""
    return info.version, made_at(info), info.served


def lines_of(text: bytes) -> Iterator[bytes]:
    """The lines that hold anything."""
    return (line for line in text.split(b"\n") if line.strip())


def read_lines(text: bytes, changed: Callable[[bytes], str | None]) -> tuple[set[str], int]:
    """The secrets that whole lines tell a change of, and how many lines could not be read."""
    paths: set[str] = set()
    unreadable = 0
    for line in lines_of(text):
        try:
            path = changed(line)
        except ValueError:
            unreadable += 1
            continue
        if path:
            paths.add(path)
    return paths, unreadable


Clock = Callable[[], float]
MONOTONIC: Final[Clock] = time.monotonic
