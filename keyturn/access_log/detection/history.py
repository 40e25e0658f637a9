"""When secrets were revoked and versions retired."""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from keyturn.core.ports.ledger import Entry, Outcome

TOLD: Final = 100
"""The newest revocations and retirements per secret."""

NEWER: Final = ("promote", "recover", "rehydrate", "revert")
"""Ledger actions that show the version in force."""

ACTIONS: Final = (*NEWER, "retire", "cut")
"""All relevant actions."""


REVOCATIONS: Final = 10_000
"""The newest revocations for the watch list."""

WATCHED: Final = 20_000
"""The most secrets on the watch list. The oldest are dropped."""


FAR_READER: Final = 100
"""A reader of more secrets is no hint about a thief, because it copies everything."""


MANY_READERS: Final = 100
"""A secret with more readers is common."""


def near_secrets(readings: Sequence[set[str]]) -> Iterator[str]:
    """Secrets that at least half of one secret's readers had read. ``readings`` is by reader."""
    narrow = [reading for reading in readings if len(reading) <= FAR_READER]
    counts = Counter(path for reading in narrow for path in reading)
    return (path for path, count in counts.items() if 2 * count >= len(narrow))


@dataclass(frozen=True)
class Watch:
    """The begin of watching a secret, and the revoked one."""

    since: float
    revoked: str


class History(Protocol):
    """The history of secrets. Times are in seconds since 1970."""

    def revoked_at(self, path: str, at: float) -> float | None:
        """The last revocation by then, or None."""

    def retired_at(self, path: str, version: int, at: float) -> float | None:
        """When this version ended by then, or None."""


@runtime_checkable
class IncidentHistory(History, Protocol):
    """A history with all revocations and the resulting watch list."""

    def revocations(self, after: int) -> Sequence[tuple[int, float, str]]:
        """Later revocations, oldest first: number, time and secret."""

    def watch(self, path: str, watch: Watch) -> None:
        """Watch a secret near a revoked one."""

    def watched(self, path: str, at: float) -> Watch | None:
        """Why a secret is watched at that time, or None."""


@dataclass
class _OfSecret:
    newest: int = 0
    cut: bool = False
    """Whether no version came into force since its revocation."""
    revoked: list[float] = field(default_factory=list)
    retired: list[tuple[float, int]] = field(default_factory=list)

    def end(self, at: float, below: int) -> None:
        """Note that all versions below this one ended."""
        self.retired = [*self.retired[1 - TOLD :], (at, below)]


class SecretHistory:
    """An :class:`IncidentHistory` from the ledger's entries in order.

    A retirement ends all versions before the one in force, a revocation also that one and its replacement.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._secrets: dict[str, _OfSecret] = {}
        self._revocations: deque[tuple[int, float, str]] = deque(maxlen=REVOCATIONS)
        self._watched: dict[str, Watch] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        if entry.outcome is not Outcome.DONE or entry.action not in ACTIONS or not entry.secret:
            return
        secret, at = self._secrets.setdefault(entry.secret, _OfSecret()), entry.time.timestamp()
        if entry.action in NEWER:
            if secret.cut:
                secret.end(at, entry.version)
            secret.newest, secret.cut = max(secret.newest, entry.version), False
        elif entry.action == "cut":
            secret.revoked, secret.cut = [*secret.revoked[1 - TOLD :], at], True
            number = self._revocations[-1][0] + 1 if self._revocations else 1
            self._revocations.append((number, at, entry.secret))
            secret.end(at, secret.newest + 1)
        else:
            secret.end(at, secret.newest)

    def revoked_at(self, path: str, at: float) -> float | None:
        """The last revocation by then, or None."""
        moments = self._secrets[path].revoked if path in self._secrets else []
        before = bisect_right(moments, at)
        return moments[before - 1] if before else None

    def retired_at(self, path: str, version: int, at: float) -> float | None:
        """When this version ended by then, or None."""
        ends = self._secrets[path].retired if path in self._secrets else []
        return next((end for end, below in ends if end <= at and version < below), None)

    def revocations(self, after: int) -> Sequence[tuple[int, float, str]]:
        """Later revocations, oldest first: number, time and secret."""
        if not self._revocations or self._revocations[-1][0] <= after:
            return ()
        return [revocation for revocation in self._revocations if revocation[0] > after]

    def watch(self, path: str, watch: Watch) -> None:
        """Watch a secret near a revoked one."""
        self._watched.pop(path, None)
        self._watched[path] = watch
        if len(self._watched) > WATCHED:
            del self._watched[next(iter(self._watched))]

    def watched(self, path: str, at: float) -> Watch | None:
        """Why a secret is watched at that time, or None."""
        watch = self._watched.get(path)
        return watch if watch and watch.since <= at else None


NO_HISTORY: Final = SecretHistory()
"""An empty history."""
