"""The port of channels that notify people on call."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Announcement:
    """A message to people, without values. ``id`` is the same on every retry, to drop repeats."""

    id: str
    subject: str
    body: str


class Channel(Protocol):
    """A chat, a pager or a mailbox."""

    def send(self, announcement: Announcement) -> None:
        """Return once the service has accepted it. Raises Unavailable, NotFound without a channel."""
