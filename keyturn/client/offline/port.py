"""The port for what a client keeps over a restart."""

from typing import TYPE_CHECKING, Final, Protocol

from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyturn.client.minimum_versions import Floors
    from keyturn.client.policy import CachePolicy
    from keyturn.client.statistics import Statistics

    Promised = Callable[[Notice, float], object]
    """Applies another process's notice for this many seconds."""


class Keeping(Protocol):
    """The cache, as the offline file uses it."""

    floors: "Floors"

    @property
    def policy_of(self) -> "Callable[[str], CachePolicy]":
        """The policy of a secret, by its path."""

    def held(self, path: str) -> Secret | None:
        """The kept secret, however old."""

    def adopt(self, secret: Secret, age: float, now: float, began: int) -> bool:
        """Keep a secret that was read ``age`` seconds ago; whether it may be given."""


class Offline(Protocol):
    """Keeps secrets and notices over restarts. Thread-safe; only :meth:`begin` and :meth:`note` raise."""

    def begin(self, cache: "Keeping", statistics: "Statistics", promised: "Promised") -> None:
        """Start in this process or forked child: earlier promises hold again."""

    def put(self, secret: Secret, policy: "CachePolicy") -> None:
        """Store a secret. Called under the cache's lock."""

    def let_go(self, path: str) -> None:
        """Stop giving what was stored. Called under the cache's lock."""

    def forget(self, path: str) -> None:
        """Remove an absent or forbidden secret. Called under the cache's lock."""

    def note(self, notice: Notice, floor_ttl: float) -> None:
        """Store a notice before returning. Raises Unavailable where that fails."""

    def find(self, path: str, now: float) -> bool:
        """Whether the cache has adopted a secret to give while no source answers."""

    def close(self) -> None:
        """Store pending changes, and nothing afterwards."""


class NothingOffline:
    """Keeps nothing."""

    def begin(self, cache: "Keeping", statistics: "Statistics", promised: "Promised") -> None:
        """Restore nothing."""

    def put(self, secret: Secret, policy: "CachePolicy") -> None:
        """Store nothing."""

    def let_go(self, path: str) -> None:
        """Do nothing."""

    def forget(self, path: str) -> None:
        """Do nothing."""

    def note(self, notice: Notice, floor_ttl: float) -> None:
        """Do nothing, because a restart restores nothing."""

    def find(self, path: str, now: float) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Do nothing."""


NOTHING_OFFLINE: Final = NothingOffline()
