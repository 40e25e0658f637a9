"""Whether the hub has fallen behind what it once held: it was restored, or a secret was removed and written anew."""

from dataclasses import dataclass
from datetime import datetime

from keyturn.core.hub import SecretInfo


@dataclass(frozen=True)
class KnownVersion:
    """A version of a secret that something outside the hub knows of.

    ``where`` is that, for people. ``created_at`` is when the hub had made it, by its own clock; None where that is not
    known. ``fingerprint`` is the whole secret's, empty where only a part of it is known.
    """

    where: str
    version: int
    created_at: datetime | None = None
    fingerprint: str = ""

    def ahead_of(self, info: SecretInfo) -> bool:
        """Whether it is newer than the newest version that the hub has.

        Numbers up to one that was recovered from are not: the hub counts from below it again.
        """
        newest = info.newest
        later = self.created_at is not None and newest is not None and self.created_at > newest.created_at
        return later or self.version > max(info.version, info.overtaken)

    @property
    def order(self) -> tuple[bool, float, int]:
        """The newest is the greatest: by the hub's clock, and by number where that is not known."""
        return self.created_at is not None, self.created_at.timestamp() if self.created_at else 0.0, self.version
