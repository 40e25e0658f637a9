"""What the application has done so far, counted as it happens."""

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.core.notifications.notices import Notice, message_id

ACKNOWLEDGED: Final = 1_000
"""How many of the latest acknowledgements are shown."""


@dataclass
class Stats:
    """Counters for many threads. ``healthy`` is whether the latest query succeeded."""

    served: int = 0
    failed: int = 0
    healthy: bool = False
    last_error_class: str | None = None
    acknowledged: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=ACKNOWLEDGED))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def query_served(self) -> None:
        """Count a query that was answered."""
        with self._lock:
            self.served += 1
            self.healthy = True

    def query_failed(self, error: Exception) -> None:
        """Count a query that was not; of the error only the class is kept."""
        with self._lock:
            self.failed += 1
            self.healthy = False
            self.last_error_class = type(error).__name__

    def settled(self, notice: Notice) -> None:
        """Note a notice that has been acted upon."""
        sent_id = message_id(notice.secret_path, notice.version, notice.event)
        with self._lock:
            self.acknowledged.append({"id": sent_id, "secret_path": notice.secret_path, "version": notice.version})

    def shown(self) -> dict[str, Any]:
        """All of it, as JSON allows it."""
        with self._lock:
            return {
                "served": self.served,
                "failed": self.failed,
                "last_error_class": self.last_error_class,
                "acknowledged": list(self.acknowledged),
            }
