"""What a client does not lose with its process: a port, and its filler that loses everything."""

from typing import TYPE_CHECKING, Final, Protocol

from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyturn.client.minimum_versions import Floors
    from keyturn.client.policy import CachePolicy
    from keyturn.client.statistics import Statistics

    Promised = Callable[[Notice, float], object]
    """Gives nothing older than the notice for so many seconds; the notice came to another process of this host."""


class Keeping(Protocol):
    """What the offline file asks of the cache."""

    floors: "Floors"

    @property
    def policy_of(self) -> "Callable[[str], CachePolicy]":
        """The policy of each secret, by its path."""

    def held(self, path: str) -> Secret | None:
        """What is kept of it, however old."""

    def adopt(self, secret: Secret, age: float, now: float, began: int) -> bool:
        """Keep what was read ``age`` seconds ago; whether it may still be given."""


class Offline(Protocol):
    """Keeps secrets and notices over restarts. Serves many threads; nothing raises but :meth:`note`."""

    def begin(self, cache: "Keeping", statistics: "Statistics", promised: "Promised") -> None:
        """This process begins, or a child of it that was forked: what notices have promised before holds again."""

    def put(self, secret: Secret, policy: "CachePolicy") -> None:
        """It was read, and is what may be given. The cache calls this under its lock."""

    def let_go(self, path: str) -> None:
        """What was put of it may not be given any more. The cache calls this under its lock."""

    def forget(self, path: str) -> None:
        """There is none, or it may not be read. The cache calls this under its lock."""

    def note(self, notice: Notice, floor_ttl: float) -> None:
        """A notice holds over restarts when this returns. Raises Unavailable where that can't be promised."""

    def find(self, path: str, now: float) -> bool:
        """Whether the cache has adopted what may be given of it although no source answers."""

    def close(self) -> None:
        """Keep what is still to be kept, and nothing later."""


class NothingOffline:
    """Keeps nothing."""

    def begin(self, cache: "Keeping", statistics: "Statistics", promised: "Promised") -> None:
        """Nothing is there from before."""

    def put(self, secret: Secret, policy: "CachePolicy") -> None:
        """It is kept in memory alone."""

    def let_go(self, path: str) -> None:
        """Nothing was kept."""

    def forget(self, path: str) -> None:
        """Nothing was kept."""

    def note(self, notice: Notice, floor_ttl: float) -> None:
        """There is nothing that a restart could bring back."""

    def find(self, path: str, now: float) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is open."""


NOTHING_OFFLINE: Final = NothingOffline()
