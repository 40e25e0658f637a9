"""The ports between a client and the processes that share its notices and reads."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Final, Protocol

from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import Notice

Telling = AbstractContextManager[Callable[[], object]]


class Peers(Protocol):
    """The other processes. Thread-safe."""

    def serve(self, local: "Local") -> None:
        """Answer the others from ``local``, once joined."""

    def join(self) -> None:
        """Join: receive notices, and learn earlier ones. Cheap before each read."""

    def tell(self, notice: Notice, floor_ttl: float) -> Telling:
        """Pass a notice on to all living processes; the yielded function waits until each has taken it.

        A process that starts within ``floor_ttl`` seconds receives it too. Both raise KeyturnError.
        """

    def take(self, wanted: Mapping[str, datetime]) -> Mapping[str, Secret]:
        """Secrets that others have read after the given instants; raises nothing."""

    def leave(self) -> None:
        """Leave the group."""

    def abandon(self) -> None:
        """Close what a fork inherited."""


class Local(Protocol):
    """This process, as the others use it. Thread-safe."""

    def promise(self, notice: Notice, remaining: float) -> None:
        """Stop giving what the notice has ended, for ``remaining`` seconds."""

    def heard(self, notice: Notice) -> None:
        """Take a notice of another process. Raises KeyturnError where that fails."""

    def promised(self, paths: Sequence[str]) -> list[tuple[Notice, float]]:
        """The latest notices of ``paths``, by default of all, with the seconds left."""

    def give(self, wanted: Mapping[str, datetime], notices: Sequence[tuple[Notice, float]]) -> Mapping[str, Secret]:
        """The secrets that were read after the given instants and notices, without unreadable ones."""

    def saw(self, secret: Secret) -> None:
        """Inform this process about a secret that another received."""


class Alone:
    """No other process."""

    def serve(self, local: Local) -> None:
        """Do nothing."""

    def join(self) -> None:
        """Do nothing."""

    def tell(self, notice: Notice, floor_ttl: float) -> Telling:
        """Notify no process."""
        return nullcontext(bool)

    def take(self, wanted: Mapping[str, datetime]) -> Mapping[str, Secret]:
        """Return nothing."""
        return {}

    def leave(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""


ALONE: Final = Alone()
