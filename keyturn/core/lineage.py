"""Whether the hub has fallen behind what it once held: it was restored, or a secret was removed and written anew."""

from dataclasses import dataclass
from datetime import datetime

from keyturn.core.ports.hub import SecretInfo


@dataclass(frozen=True)
class KnownVersion:
    """A version of a secret that something outside the hub knows of.

    ``where`` is that, for people. ``created_at`` is when the hub had made it, by its own clock; None where that is not
    known. ``fingerprint`` is the whole secret's, empty where only a part of it is known. ``revoked_by`` is the incident
    that has ended it since, ``revoked_up_to`` the newest version that this was about, 0 where nobody tells.
    ``restored_from`` stands where nothing newer is known: the version came with a restore, and what was revoked after
    the moment ``as_of`` nobody knows.
    """

    where: str
    version: int
    created_at: datetime | None = None
    fingerprint: str = ""
    revoked_by: str = ""
    revoked_up_to: int = 0
    restored_from: str = ""
    as_of: datetime | None = None

    def ahead_of(self, info: SecretInfo) -> bool:
        """Whether it is newer than the newest version that the hub has.

        Numbers up to one that was recovered from are not: the hub counts from below it again.
        """
        newest = info.newest
        later = self.created_at is not None and newest is not None and self.created_at > newest.created_at
        return later or self.version > max(info.version, info.overtaken)

    def ends(self, info: SecretInfo) -> bool:
        """Whether the hub serves what a revocation has ended, by the numbers alone; its record tells whether it knows.

        A version above those that it was about is another credential, unless it :meth:`may_be_back`.
        """
        return bool(self.revoked_by) and info.served and (not self.revoked_up_to or info.version <= self.revoked_up_to)

    def may_be_back(self, info: SecretInfo) -> bool:
        """Whether the hub serves a version above those that were ended, and gives one of those still.

        So it is where a restored one was written by hand: whether that is the same value again, the values tell.
        """
        return bool(self.revoked_by) and info.served and not self.ends(info) and bool(self.ended_in(info))

    def ended_in(self, info: SecretInfo) -> list[int]:
        """The numbers of those that a revocation has ended and that the hub gives still."""
        readable = (version.version for version in info.versions if version.readable)
        return [number for number in readable if number <= self.revoked_up_to]

    def speaks_against(self, info: SecretInfo) -> bool:
        """Whether the hub may have lost something that this tells of."""
        return self.ahead_of(info) or self.ends(info) or self.may_be_back(info)

    def beyond(self, version: int) -> bool:
        """Whether it tells something that a hub at this version may have lost."""
        return self.version > version or bool(self.revoked_by)

    @property
    def order(self) -> tuple[bool, float, int]:
        """The newest is the greatest: by the hub's clock, and by number where that is not known."""
        return self.created_at is not None, self.created_at.timestamp() if self.created_at else 0.0, self.version
