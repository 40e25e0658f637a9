"""The objects of one account or project, in memory."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

PAGE: Final = 3
"""Objects in a page of a listing: few, so that more than one is asked for."""


@dataclass(frozen=True)
class HeldObject:
    """One object; ``locked_until`` is until when it can't be removed."""

    content: bytes
    changed_at: datetime
    locked_until: datetime | None = None
    mode: str = ""


@dataclass
class ObjectState:
    """All that one server holds, by bucket and name. Serves many threads."""

    buckets: dict[str, dict[str, HeldObject]] = field(default_factory=dict)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def put(self, bucket: str, name: str, held: HeldObject) -> bool:
        """Keep it where there is none of that name; false where there is. Raises KeyError without the bucket."""
        with self.turn:
            return self.buckets[bucket].setdefault(name, held) is held

    def page(self, bucket: str, prefix: str, after: str) -> tuple[list[tuple[str, HeldObject]], str]:
        """The next objects, in the order of the names, and what to ask for the page behind; empty at the end."""
        with self.turn:
            names = sorted(name for name in self.buckets[bucket] if name.startswith(prefix) and name > after)
            page = [(name, self.buckets[bucket][name]) for name in names[:PAGE]]
        return page, page[-1][0] if len(names) > PAGE else ""

    def remove(self, bucket: str, name: str) -> bool | None:
        """Remove an object; None where there is none, false where it is locked."""
        with self.turn:
            held = self.buckets[bucket].get(name)
            if held is None:
                return None
            if held.locked_until and held.locked_until > datetime.now(UTC):
                return False
            del self.buckets[bucket][name]
            return True

    def close(self) -> None:
        """There is nothing to let go of."""
