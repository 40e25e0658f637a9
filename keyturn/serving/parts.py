"""The port of what runs on: a part, and the time for which one process has it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.core.errors import Superseded

SAFE: Final = 15.0
"""Seconds since the last renewal that came through, after which whoever has a part stops: well before others take it.

They wait for :data:`keyturn.serving.leases.LAPSE`.
"""

FOLLOW: Final = "follow"
"""The part that follows the hub."""
GRANTING: Final = "grants"
"""The part that gives and ends access for a while."""
NUMBERS: Final = "numbers"
"""The part that looks at the whole workspace for its numbers."""
RELAY: Final = "relay"
"""The part that tells those numbers where nobody may look; it runs where it is named alone."""
PUBLISHED: Final = "numbers"
"""Where they are then in Keyturn's own mount: ``numbers/<area>``."""
BACKUP: Final = "backup"
"""The part that backs the hub up."""
ACCESS: Final = "access/"
"""How the names of the parts begin that read access logs; the log's name is behind it."""
HUB: Final = "hub"
"""What the hub's audit file is called as an access log, where the catalogue names none."""


@dataclass(frozen=True)
class PartHealth:
    """How a part is, by its own word: ``lag`` in seconds behind what it reads, None where it can't tell.

    ``trouble`` says in words what keeps it from its work; empty where nothing does.
    """

    lag: float | None = None
    trouble: str = ""


UNTOLD: Final = PartHealth()
"""Of a part that does not tell how it is."""


class Tenure:
    """The time for which this process has a part. Shared by the part's own thread and by what renews its lease.

    ``number`` is greater than that of whoever had the part before: what is written in the hub by compare-and-set bears
    it. ``ended`` is set once the part has to stop, and ``ours`` is False where it has to since another may have it by
    now. ``measure`` is the part's to set: it tells how it is.
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
        """Note that a renewal came through which began at that moment."""
        self._renewed_at = max(self._renewed_at, began)

    def wait(self, seconds: float) -> bool:
        """Wait, and say whether the part has to stop."""
        return self.ended.wait(seconds)

    @property
    def over(self) -> bool:
        """Whether it has ended, or nobody here can know any more that it has not."""
        if self._clock() - self._renewed_at > SAFE:
            self.lose()
        return self.ended.is_set()

    def lose(self) -> None:
        """End it, since another may have the part."""
        self.ours = False
        self.ended.set()

    def insist(self) -> None:
        """Before whatever has an effect. Raises Superseded where it is not ours any more. Asks nobody."""
        if self.over and not self.ours:
            raise lease_ended(self.part)

    def confirm(self) -> None:
        """The same by the hub's word, before what can't be taken back: this process may have been frozen until now.

        Raises Superseded where another has taken the part, Unavailable and the like where the hub can't be asked.
        """
        self.insist()
        self._ask()


def lease_ended(part: str) -> Superseded:
    """Another process may have the part by now."""
    return Superseded("go on with", f"the part {part}", "its lease has ended, another process may have it", "")


class Part(Protocol):
    """One thing that runs on. ``name`` is the same for good: its lease goes by it."""

    name: str

    def run(self, tenure: Tenure) -> None:
        """Work until ``tenure.ended`` is set, and soon return then.

        Raises what keeps it from going on: that is told, and it is begun anew a moment later, here or elsewhere.
        """
