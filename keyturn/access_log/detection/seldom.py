"""Count how common strange things are among similar principals."""

from collections import deque
from typing import Final

from keyturn.access_log.detection.policy import Tuning

REMEMBERED: Final = 1_000
"""The latest strange events per kind."""

KINDS: Final = 10_000

Strange = tuple[float, str, frozenset[str]]
"""Time, principal and strange aspects."""


class Seldom:
    """Remembers what was strange for each kind, with limited memory."""

    def __init__(self) -> None:
        self._strange: dict[tuple[str, ...], deque[Strange]] = {}

    def add(self, kind: tuple[str, ...], who: str, at: float, aspects: frozenset[str], tuning: Tuning) -> bool:
        """Add strange aspects, and return whether fewer than ``count`` others had these or more within the time."""
        if kind not in self._strange:
            self._strange[kind] = deque(maxlen=REMEMBERED)
            if len(self._strange) > KINDS:
                del self._strange[next(iter(self._strange))]
        since = at - tuning.within.total_seconds()
        others = {other for moment, other, strange in self._strange[kind] if moment > since and strange >= aspects}
        self._strange[kind].append((at, who, aspects))
        return len(others - {who}) < tuning.count
