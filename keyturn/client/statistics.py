"""A client's counters, without hits, which take longer to count than to serve."""

import threading
from collections import Counter
from enum import StrEnum


class Event(StrEnum):
    """The counted events."""

    MISS = "misses"
    """A lookup was not in the map of hits."""
    READ = "reads"
    """A source returned a value."""
    SHARED = "shared"
    """Another process of the host shared a value."""
    RENEWAL = "renewals"
    """A secret was read in the background."""
    STALE = "stale"
    """A due secret was given, because no source answered."""
    ERROR = "errors"
    """No source returned a value."""
    NOTICE = "notices"
    """A notice was taken."""
    OFFLINE = "offline"
    """No source answered, and the offline file had the secret."""
    REFUSED = "refused"
    """An offline file was refused."""


class Statistics:
    """Counts since the client was made. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[Event]()

    def count(self, event: Event) -> None:
        """Count one event."""
        with self._lock:
            self._counts[event] += 1

    def __getitem__(self, event: Event) -> int:
        return self._counts[event]

    def shown(self) -> dict[str, int]:
        """All counts by name."""
        return {str(event): self._counts[event] for event in Event}
