"""The port of a continuous part, and its tenure in one process."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.core.errors import Superseded

SAFE: Final = 15.0
"""Seconds since the last renewal after which a holder stops, before a takeover.

Other processes wait for :data:`keyturn.serving.leases.LAPSE`.
"""

FOLLOW: Final = "follow"
"""The part that follows the hub."""
GRANTING: Final = "grants"
"""The part that grants and ends temporary access."""
NUMBERS: Final = "numbers"
"""The part that reads the whole workspace for its metrics."""
RELAY: Final = "relay"
"""The part that reports those metrics without a worker's rights; it runs only where named."""
PUBLISHED: Final = "numbers"
"""The path of the metrics in Keyturn's mount: ``numbers/<area>``."""
BACKUP: Final = "backup"
"""The part that backs up the hub."""
ACCESS: Final = "access/"
"""The prefix of an access reader's name, before the log's name."""
HUB: Final = "hub"
"""The hub's audit file as an access log, where the catalogue names none."""


@dataclass(frozen=True)
class PartHealth:
    """A part's own report on its health; ``lag`` is its delay in seconds, None where unknown.

    ``trouble`` is the problem in words; empty where there is none.
    """

    lag: float | None = None
    trouble: str = ""


UNTOLD: Final = PartHealth()
"""The health of a part that does not report it."""


class Tenure:
    """The tenure of a part in this process. Shared by the part's thread and the renewal of its lease.

    ``number`` is greater than that of every earlier holder, and is part of compare-and-set writes to the hub. ``ended``
    is set once the part must stop. ``ours`` is False where another process may hold the part. The part sets
    ``measure``, which reports its health.
    """

    def __init__(self, part: str, number: int, clock: Callable[[], float], ask: Callable[[], None]) -> None:
        self.part = part
        self.number = number
        self.ended = threading.Event()
        self.ours = True
        self.measure: Callable[[], PartHealth] = lambda: UNTOLD
        self._clock = clock
        self._ask = ask
        self._renewed_at = clock()

    def renewed(self, began: float) -> None:
        """Note a successful renewal that began at that moment."""
        self._renewed_at = max(self._renewed_at, began)

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether the part must stop."""
        return self.ended.wait(seconds)

    @property
    def over(self) -> bool:
        """Whether it has ended, or may have lapsed."""
        if self._clock() - self._renewed_at > SAFE:
            self.lose()
        return self.ended.is_set()

    def lose(self) -> None:
        """End it, because another process may hold the part."""
        self.ours = False
        self.ended.set()

    def insist(self) -> None:
        """Check before any effect, without asking the hub. Raises Superseded."""
        if self.over and not self.ours:
            raise lease_ended(self.part)

    def confirm(self) -> None:
        """Check with the hub before an irreversible action, because this process may have been frozen.

        Raises Superseded for another holder, Unavailable and the like where the hub can't be asked.
        """
        self.insist()
        self._ask()


def lease_ended(part: str) -> Superseded:
    """Return the error for a part that another process may hold by now."""
    return Superseded("go on with", f"the part {part}", "its lease has ended, another process may have it", "")


class Part(Protocol):
    """A continuous part; ``name`` never changes, because it identifies the lease."""

    name: str

    def run(self, tenure: Tenure) -> None:
        """Work until ``tenure.ended`` is set, and return soon after.

        Raises errors that prevent the work. They are reported, and the part restarts a moment later, here or elsewhere.
        """
