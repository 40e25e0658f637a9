"""Refusing calls above a pace, as the service does: "Azure Key Vault throttling guidance"."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from local.emulators.azure_key_vault.messages import Refusal

WINDOW: Final = 10.0
"""Seconds over which the service counts."""


@dataclass(frozen=True)
class Limits:
    """Calls allowed in any ten seconds: all of them, and those that create a secret; None where any number is."""

    requests: int | None = None
    creates: int | None = None


@dataclass
class _Window:
    limit: int | None
    taken: deque[float] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        """Seconds until one more call is allowed; 0 when it is now."""
        while self.taken and self.taken[0] <= now - WINDOW:
            self.taken.popleft()
        if self.limit is None or len(self.taken) < self.limit:
            return 0
        return self.taken[0] + WINDOW - now if self.taken else WINDOW


class Throttle:
    """Counts calls in a sliding window, and refuses those above the limits with the seconds to wait."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._all = _Window(limits.requests)
        self._creates = _Window(limits.creates)
        self._clock = clock
        self._lock = threading.Lock()

    def limit(self, limits: Limits) -> None:
        """Allow these from now on, counting anew."""
        with self._lock:
            self._all, self._creates = _Window(limits.requests), _Window(limits.creates)

    def admit(self, *, creates: bool) -> None:
        """Count one call. Raises a 429 refusal when it is one too many."""
        windows = [self._all, self._creates] if creates else [self._all]
        with self._lock:
            now = self._clock()
            wait = max(window.wait(now) for window in windows)
            if wait == 0:
                for window in windows:
                    if window.limit is not None:
                        window.taken.append(now)
                return
        raise Refusal(
            429,
            "Throttled",
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
            headers={"Retry-After": str(math.ceil(wait))},
        )
