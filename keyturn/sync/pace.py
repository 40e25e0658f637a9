"""The pace of work at one store: its concurrency and its writes per second.

Additive increase, multiplicative decrease, as in TCP (RFC 5681): success widens the window, throttling halves it. No
call starts before the time that the service asked for.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

WIDEST: Final = 16
FIRST: Final = 4.0


class Pace:
    """The pace at one store. Thread-safe. ``rate`` is in writes per second, None without limit."""

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
        """The number of calls allowed at once."""
        return self._window

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a slot and the rate limit. Releases the slot at the end."""
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
        """Widen the window after a success."""
        with self._free:
            self._window = min(self._widest, self._window + 1 / self._window)
            self._free.notify_all()

    def throttled(self, retry_after: float | None) -> None:
        """Halve the window and pause for ``retry_after`` seconds.

        Concurrent calls count as one refusal.
        """
        with self._free:
            now = self._clock()
            pause = retry_after if retry_after is not None else 1.0
            if now >= self._shrunk_at:
                self._window = max(1.0, self._window / 2)
            self._shrunk_at = now + max(pause, 0.1)
            self._next = max(self._next, now + pause)
