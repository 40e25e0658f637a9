"""CURRENT, read once for copies made at about the same time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.ports.hub import HubSecret

FRESH: Final = 5.0
"""Seconds for which a value is reused."""

MOST: Final = 512
"""Maximum values held at once. The oldest are dropped."""


@dataclass
class Reading:
    """A value, or a pending read that began ``at``."""

    at: float
    future: "Future[HubSecret]" = field(default_factory=Future)


class Readings:
    """A short-lived cache of values, shared by threads."""

    def __init__(self, read: Callable[[str], HubSecret], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._held: dict[str, Reading] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> HubSecret:
        """CURRENT, at most seconds old. Raises the hub's errors."""
        reading, ours = self._reading(path)
        if ours:
            try:
                reading.future.set_result(self._read(path))
            except BaseException as error:  # noqa: BLE001  whoever waits for it gets it too
                self._forget(path, reading)
                reading.future.set_exception(error)
        return reading.future.result()

    def _reading(self, path: str) -> tuple[Reading, bool]:
        """The read to wait for, and whether the caller has to do it."""
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
