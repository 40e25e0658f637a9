"""CURRENT of the secrets whose copies are being made: read once for copies that are made at about the same time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.ports.hub import HubSecret

FRESH: Final = 5.0
"""Seconds for which a value is given out: for a store that lags behind the others it is read again."""

MOST: Final = 512
"""So many values are held at once; the oldest make room."""


@dataclass
class Reading:
    """One value, or the wait for it. ``at`` is when the reading began."""

    at: float
    future: "Future[HubSecret]" = field(default_factory=Future)


class Readings:
    """Shared by the threads that make copies, and gone with them."""

    def __init__(self, read: Callable[[str], HubSecret], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._held: dict[str, Reading] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> HubSecret:
        """CURRENT, a few seconds old at most. Raises what the hub's reading raises."""
        reading, ours = self._reading(path)
        if ours:
            try:
                reading.future.set_result(self._read(path))
            except BaseException as error:  # noqa: BLE001  whoever waits for it gets it too
                self._forget(path, reading)
                reading.future.set_exception(error)
        return reading.future.result()

    def _reading(self, path: str) -> tuple[Reading, bool]:
        """The reading to wait for, and whether the caller has to do it. What is too old is forgotten."""
        with self._lock:
            now = self._clock()
            while self._held and (len(self._held) >= MOST or now - self._oldest().at > FRESH):
                del self._held[next(iter(self._held))]
            if held := self._held.get(path):
                return held, False
            self._held[path] = Reading(now)
            return self._held[path], True

    def _oldest(self) -> Reading:
        return next(iter(self._held.values()))

    def _forget(self, path: str, reading: Reading) -> None:
        with self._lock:
            if self._held.get(path) is reading:
                del self._held[path]
