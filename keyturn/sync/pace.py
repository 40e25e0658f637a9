"""How fast one store is worked at: as many calls at once as it bears, and no more writes a second than it allows.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): each success widens the window a little, a
refusal for haste halves it, and nothing is begun before the time that the service asked for.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

WIDEST: Final = 16
FIRST: Final = 4.0


class Pace:
    """The pace at one store, shared by threads. ``rate`` is in writes a second, None for as fast as it goes."""

    def __init__(
        self,
        rate: float | None,
        widest: int = WIDEST,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._widest = widest
        self._clock = clock
        self._sleep = sleep
        self._window = FIRST
        self._busy = 0
        self._next = 0.0
        self._shrunk_at = float("-inf")
        self._free = threading.Condition()

    @property
    def window(self) -> float:
        """How many may be at work at once."""
        return self._window

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place, and for the moment that the rate allows; the place is given back at the end."""
        with self._free:
            self._free.wait_for(lambda: self._busy < int(self._window))
            self._busy += 1
            begins = max(self._clock(), self._next)
            self._next = begins + self._gap
        try:
            if (wait := begins - self._clock()) > 0:
                self._sleep(wait)
            yield
        finally:
            with self._free:
                self._busy -= 1
                self._free.notify_all()

    def succeeded(self) -> None:
        """One call went through: a little wider."""
        with self._free:
            self._window = min(self._widest, self._window + 1 / self._window)
            self._free.notify_all()

    def throttled(self, retry_after: float | None) -> None:
        """The service asks for a slower pace: half as wide, and nothing before ``retry_after`` seconds are over.

        Calls that were under way together count as one refusal.
        """
        with self._free:
            now = self._clock()
            pause = retry_after if retry_after is not None else 1.0
            if now >= self._shrunk_at:
                self._window = max(1.0, self._window / 2)
            self._shrunk_at = now + max(pause, 0.1)
            self._next = max(self._next, now + pause)
