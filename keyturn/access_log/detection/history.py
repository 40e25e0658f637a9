"""When secrets were revoked and versions of them retired: what an access log alone does not tell."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from keyturn.core.ledger import Entry, Outcome

TOLD: Final = 100
"""Revocations and retirements of one secret that are remembered, the newest."""

NEWER: Final = ("promote", "recover", "revert")
"""The actions of the ledger that tell which version came into force."""

ACTIONS: Final = (*NEWER, "retire", "cut")
"""Those that tell anything of it."""


class History(Protocol):
    """What has become of secrets. Moments are seconds since 1970."""

    def revoked_at(self, path: str, at: float) -> float | None:
        """When it was last revoked, up to that moment; None where it was not."""

    def retired_at(self, path: str, version: int, at: float) -> float | None:
        """When this version was ended, up to that moment; None where it was not, or nobody knows."""


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
    """A :class:`History` by the ledger's entries, which come in their order: promotions, retirements, revocations.

    A retirement ends all versions before the one in force, a revocation that one, too, and what it leaves in its place.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._secrets: dict[str, _OfSecret] = {}
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


NO_HISTORY: Final = SecretHistory()
"""Where nothing is known."""
