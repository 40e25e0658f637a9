"""When secrets were revoked and versions of them retired: what an access log alone does not tell."""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from keyturn.core.ports.ledger import Entry, Outcome

TOLD: Final = 100
"""Revocations and retirements of one secret that are remembered, the newest."""

NEWER: Final = ("promote", "recover", "rehydrate", "revert")
"""The actions of the ledger that tell which version came into force."""

ACTIONS: Final = (*NEWER, "retire", "cut")
"""Those that tell anything of it."""


REVOCATIONS: Final = 10_000
"""Revocations of all secrets that are remembered for the watch list, the newest."""

WATCHED: Final = 20_000
"""Secrets on the watch list, those that were put there last."""


FAR_READER: Final = 100
"""Who was given more secrets than this is no hint to what a thief had: it copies or backs up all of them."""


MANY_READERS: Final = 100
"""A secret that more than so many were given is everybody's: that readers of another one read it, too, says nothing."""


def near_secrets(readings: Sequence[set[str]]) -> Iterator[str]:
    """The secrets that at least half of the readers of one were given, too: ``readings`` are what each was given."""
    narrow = [reading for reading in readings if len(reading) <= FAR_READER]
    counts = Counter(path for reading in narrow for path in reading)
    return (path for path, count in counts.items() if 2 * count >= len(narrow))


@dataclass(frozen=True)
class Watch:
    """Since when a secret is watched, and after the revocation of which other."""

    since: float
    revoked: str


class History(Protocol):
    """What has become of secrets. Moments are seconds since 1970."""

    def revoked_at(self, path: str, at: float) -> float | None:
        """When it was last revoked, up to that moment; None where it was not."""

    def retired_at(self, path: str, version: int, at: float) -> float | None:
        """When this version was ended, up to that moment; None where it was not, or nobody knows."""


@runtime_checkable
class IncidentHistory(History, Protocol):
    """One that tells of all revocations, and holds the watch list that is made after them."""

    def revocations(self, after: int) -> Sequence[tuple[int, float, str]]:
        """Those behind the one of that number, oldest first: number, moment and secret."""

    def watch(self, path: str, watch: Watch) -> None:
        """Put a secret on the watch list, because its readers read one that was revoked."""

    def watched(self, path: str, at: float) -> Watch | None:
        """How it came to be on the watch list by that moment; None where it is not."""


@dataclass
class _OfSecret:
    newest: int = 0
    cut: bool = False
    """That nothing came into force since it was revoked."""
    revoked: list[float] = field(default_factory=list)
    retired: list[tuple[float, int]] = field(default_factory=list)

    def end(self, at: float, below: int) -> None:
        """That all versions below this one have ended."""
        self.retired = [*self.retired[1 - TOLD :], (at, below)]


class SecretHistory:
    """An :class:`IncidentHistory` by the ledger's entries, in their order: promotions, retirements, revocations.

    A retirement ends all versions before the one in force, a revocation that one, too, and what it leaves in its place.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._secrets: dict[str, _OfSecret] = {}
        self._revocations: deque[tuple[int, float, str]] = deque(maxlen=REVOCATIONS)
        self._watched: dict[str, Watch] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take one more."""
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
        """When it was last revoked, up to that moment; None where it was not."""
        moments = self._secrets[path].revoked if path in self._secrets else []
        before = bisect_right(moments, at)
        return moments[before - 1] if before else None

    def retired_at(self, path: str, version: int, at: float) -> float | None:
        """When this version was ended, up to that moment; None where it was not, or nobody knows."""
        ends = self._secrets[path].retired if path in self._secrets else []
        return next((end for end, below in ends if end <= at and version < below), None)

    def revocations(self, after: int) -> Sequence[tuple[int, float, str]]:
        """Those behind the one of that number, oldest first: number, moment and secret."""
        if not self._revocations or self._revocations[-1][0] <= after:
            return ()
        return [revocation for revocation in self._revocations if revocation[0] > after]

    def watch(self, path: str, watch: Watch) -> None:
        """Put a secret on the watch list, because its readers read one that was revoked."""
        self._watched.pop(path, None)
        self._watched[path] = watch
        if len(self._watched) > WATCHED:
            del self._watched[next(iter(self._watched))]

    def watched(self, path: str, at: float) -> Watch | None:
        """How it came to be on the watch list by that moment; None where it is not."""
        watch = self._watched.get(path)
        return watch if watch and watch.since <= at else None


NO_HISTORY: Final = SecretHistory()
"""Where nothing is known."""
