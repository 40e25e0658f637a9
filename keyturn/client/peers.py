"""What a client asks of the other processes that share its notices and its reads, and what they ask of it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Final, Protocol

from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import Notice

Telling = AbstractContextManager[Callable[[], object]]


class Peers(Protocol):
    """The other processes. Every method may be called by any thread."""

    def serve(self, local: "Local") -> None:
        """Answer the others from there, once joined."""

    def join(self) -> None:
        """Be told from now on, and know what the others were told. Call it before each read; mostly it does nothing."""

    def tell(self, notice: Notice, floor_ttl: float) -> Telling:
        """Pass a notice on to all that live; what is entered waits, when it is called, until each has taken it.

        Whoever begins within ``floor_ttl`` seconds hears of it, too. Both raise KeyturnError.
        """

    def take(self, wanted: Mapping[str, datetime]) -> Mapping[str, Secret]:
        """What another process has of these that was read after the instant beside each; nothing is raised."""

    def leave(self) -> None:
        """Be told no more."""

    def abandon(self) -> None:
        """Let go of what was inherited from the process that this one was forked from."""


class Local(Protocol):
    """What other processes ask of this one. Every method may be called by any thread."""

    def promise(self, notice: Notice, remaining: float) -> None:
        """Give nothing any more that the notice has ended, for so many seconds."""

    def heard(self, notice: Notice) -> None:
        """Take a notice that another process was given; raises KeyturnError where it can't be taken now."""

    def promised(self, paths: Sequence[str]) -> list[tuple[Notice, float]]:
        """The latest notices of these, or of all where none are named, and for how many seconds each still counts."""

    def give(self, wanted: Mapping[str, datetime], notices: Sequence[tuple[Notice, float]]) -> Mapping[str, Secret]:
        """What is there of these that was read after the instant beside each, and behind the notices."""

    def saw(self, secret: Secret) -> None:
        """It was given to another process, and may be news in this one."""


class Alone:
    """No other process."""

    def serve(self, local: Local) -> None:
        """Nobody asks."""

    def join(self) -> None:
        """There is nothing to join."""

    def tell(self, notice: Notice, floor_ttl: float) -> Telling:
        """Nobody is told."""
        return nullcontext(bool)

    def take(self, wanted: Mapping[str, datetime]) -> Mapping[str, Secret]:
        """Nobody has it."""
        return {}

    def leave(self) -> None:
        """There is nothing to leave."""

    def abandon(self) -> None:
        """Nothing was inherited."""


ALONE: Final = Alone()
