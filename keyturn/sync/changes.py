"""Changes in the hub, from audit lines or by comparing versions. Never values."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.notice_state import made_at
from keyturn.core.ports.hub import Hub, SecretInfo, survey
from keyturn.core.text.audit_lines import AuditMount, decode_line

EVERYTHING: Final = "**"
"""Means all secrets, where a source may have missed some."""

WRITES: Final = frozenset({"create", "update", "patch", "delete"})
CHANGING: Final = {
    "data": WRITES,
    "delete": WRITES,
    "undelete": WRITES,
    "destroy": WRITES,
    "metadata": frozenset({"delete"}),
}
"""The operations that change CURRENT. Source: "KV secrets engine version 2 (API)"."""


@dataclass(frozen=True)
class News:
    """The changed secrets of one look, with EVERYTHING if some may have been missed.

    ``unreadable`` counts lines. ``more`` asks for another look. ``errors`` hide changes, which are reported later.
    """

    paths: frozenset[str] = frozenset()
    unreadable: int = 0
    more: bool = False
    errors: tuple[KeyturnError, ...] = ()


class ChangeSource(Protocol):
    """A source of changes in the hub. Used by one thread."""

    pause: float
    """Seconds between two looks."""

    def look(self) -> News:
        """The changes since the last look. Raises if unreadable."""

    def keep(self, pending: Collection[str]) -> None:
        """Store what was seen and what is pending, to survive a restart."""

    def close(self) -> None:
        """Close what is open."""


@dataclass(frozen=True)
class AuditLines(AuditMount):
    """Finds changes in one namespace's KV v2 mounts in audit lines of Vault and OpenBao."""

    def changed(self, line: bytes) -> str | None:
        """The secret that the line changes, or None. Raises ValueError if malformed."""
        audit_line = decode_line(line)
        request = audit_line.request
        if audit_line.type != "response" or audit_line.error or request is None:
            return None
        kind, path = self.place(request) or ("", "")
        return path if request.operation in CHANGING.get(kind, ()) else None


class Polling:
    """A :class:`ChangeSource` that lists the hub's versions every ``pause`` seconds.

    The first look, also after a restart, reports EVERYTHING.
    """

    def __init__(self, hub: Callable[[], Hub], pause: float = 5.0) -> None:
        self.pause = pause
        self._hub = hub
        self._known: dict[str, tuple[int, str, bool]] | None = None

    def look(self) -> News:
        """The secrets whose version or readability has changed, also deleted ones."""
        secrets = survey(self._hub())
        now = {path: state_of(info) for path, info in secrets.items()}
        before, errors = self._known, tuple(secrets.unread.values())
        self._known = now | {path: state for path, state in (before or {}).items() if secrets.error(path)}
        if before is None:
            return News(frozenset({EVERYTHING}), errors=errors)
        paths = self._known.keys() | before.keys()
        return News(frozenset(path for path in paths if self._known.get(path) != before.get(path)), errors=errors)

    def keep(self, pending: Collection[str]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def state_of(info: SecretInfo) -> tuple[int, str, bool]:
    """The newest version, its creation time (numbers are reused), and its readability."""
    return info.version, made_at(info), info.served


def lines_of(text: bytes) -> Iterator[bytes]:
    """The lines that are not blank."""
    return (line for line in text.split(b"\n") if line.strip())


def read_lines(text: bytes, changed: Callable[[bytes], str | None]) -> tuple[set[str], int]:
    """The secrets that complete lines change, and the number of unreadable ones."""
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
