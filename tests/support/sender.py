"""A sender that notes what it was asked to deliver."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class RecordingSender:
    """``silent`` maps consumers to the error that telling them raises, ``unwell`` to what asking for health does."""

    silent: dict[str, Exception] = field(default_factory=dict)
    unwell: dict[str, Exception] = field(default_factory=dict)
    told: list[tuple[str, str, int]] = field(default_factory=list)

    def deliver(self, consumer: str, path: str, version: int, at: datetime) -> None:
        """Note it, or raise."""
        if consumer in self.silent:
            raise self.silent[consumer]
        self.told.append((consumer, path, version))

    def check_health(self, consumer: str) -> None:
        """Well, or raise."""
        if consumer in self.unwell:
            raise self.unwell[consumer]
