"""The port of the channel by which whoever is on call is told."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Announcement:
    """What people are told, in names alone. ``id`` is the same however often it is sent: repeats can be dropped."""

    id: str
    subject: str
    body: str


class Channel(Protocol):
    """Where people are told: a chat, a pager, a mailbox."""

    def send(self, announcement: Announcement) -> None:
        """Returns once the service has taken it. Raises Unavailable where it has not, NotFound without a channel."""
