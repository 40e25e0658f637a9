"""What a client has done, in numbers. Hits are not among them: to count one would take longer than to serve it."""

import threading
from collections import Counter
from enum import StrEnum


class Event(StrEnum):
    """What is counted."""

    MISS = "misses"
    """Somebody asked for what was not in the map of hits."""
    READ = "reads"
    """A source gave a value."""
    SHARED = "shared"
    """Another process of the host gave what it had read."""
    RENEWAL = "renewals"
    """It was asked behind the program's back."""
    STALE = "stale"
    """What was due to be read again was given, since no source could be asked."""
    ERROR = "errors"
    """No source gave a value."""
    NOTICE = "notices"
    """A notice was taken."""
    OFFLINE = "offline"
    """No source could be asked, and the offline file had it."""
    REFUSED = "refused"
    """An offline file was not believed."""


class Statistics:
    """Counts since the client was made. Serves many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[Event]()

    def count(self, event: Event) -> None:
        """One more."""
        with self._lock:
            self._counts[event] += 1

    def __getitem__(self, event: Event) -> int:
        return self._counts[event]

    def shown(self) -> dict[str, int]:
        """All of them by their names."""
        return {str(event): self._counts[event] for event in Event}
