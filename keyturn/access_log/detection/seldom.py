"""What is strange of one is common of another: counted is how often principals of a kind do such things."""

from collections import deque
from typing import Final

from keyturn.access_log.detection.policy import Tuning

REMEMBERED: Final = 1_000
"""What was strange about principals of one kind, the latest."""

KINDS: Final = 10_000

Strange = tuple[float, str, frozenset[str]]
"""When, who, and what was strange about it."""


class Seldom:
    """Remembers what was strange about principals of each kind, bounded."""

    def __init__(self) -> None:
        self._strange: dict[tuple[str, ...], deque[Strange]] = {}

    def add(self, kind: tuple[str, ...], who: str, at: float, aspects: frozenset[str], tuning: Tuning) -> bool:
        """That these aspects of one are strange; whether they, or more, were so of fewer than ``count`` others within
        the time.
        """
        if kind not in self._strange:
            self._strange[kind] = deque(maxlen=REMEMBERED)
            if len(self._strange) > KINDS:
                del self._strange[next(iter(self._strange))]
        since = at - tuning.within.total_seconds()
        others = {other for moment, other, strange in self._strange[kind] if moment > since and strange >= aspects}
        self._strange[kind].append((at, who, aspects))
        return len(others - {who}) < tuning.count
