"""A sender that notes what it was asked to deliver."""

from dataclasses import dataclass, field
from datetime import datetime

from keyturn.core.notifications.notices import SECRET_ROTATED


@dataclass
class RecordingSender:
    """``silent`` maps consumers to the error that telling them raises, ``unwell`` to what asking for health does."""

    silent: dict[str, Exception] = field(default_factory=dict)
    unwell: dict[str, Exception] = field(default_factory=dict)
    told: list[tuple[str, str, int]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    accepting: set[str] = field(default_factory=set)
    """Who accepts a next webhook key."""

    def deliver(
        self,
        consumer: str,
        path: str,
        version: int,
        at: datetime,
        event: str = SECRET_ROTATED,
        *,
        made: bool = False,
        replaced: bool = True,
    ) -> None:
        """Note it, or raise."""
        if consumer in self.silent:
            raise self.silent[consumer]
        self.told.append((consumer, path, version))
        self.events.append(event if replaced else f"{event} for good")

    def accepts_next_key(self, consumer: str, path: str, version: int, at: datetime, *, made: bool = False) -> bool:
        """As ``accepting`` says, or raise."""
        if consumer in self.silent:
            raise self.silent[consumer]
        return consumer in self.accepting

    def check_health(self, consumer: str) -> None:
        """Well, or raise."""
        if consumer in self.unwell:
            raise self.unwell[consumer]
