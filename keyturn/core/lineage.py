"""Detects a hub that lost versions by a restore, or by removing and rewriting a secret."""

from dataclasses import dataclass
from datetime import datetime

from keyturn.core.ports.hub import SecretInfo


@dataclass(frozen=True)
class KnownVersion:
    """A version known outside the hub, at ``where``.

    ``created_at`` is by the hub's clock, None if unknown. ``fingerprint`` is the whole secret's, empty if only a part
    is known. ``revoked_by`` is the incident that ended it since, ``revoked_up_to`` the newest version it ended, 0 if
    unknown. ``restored_from`` is set if the version came with a restore, and revocations after ``as_of`` are unknown.
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
        """Whether it is newer than the hub's newest version.

        Numbers up to a recovered one are not, since the hub counts from below them again.
        """
        newest = info.newest
        later = self.created_at is not None and newest is not None and self.created_at > newest.created_at
        return later or self.version > max(info.version, info.overtaken)

    def ends(self, info: SecretInfo) -> bool:
        """Whether the hub serves a revoked version, by numbers alone; its record shows whether it knows.

        A higher version is another credential, unless it :meth:`may_be_back`.
        """
        return bool(self.revoked_by) and info.served and (not self.revoked_up_to or info.version <= self.revoked_up_to)

    def may_be_back(self, info: SecretInfo) -> bool:
        """Whether the hub serves a version above the revoked ones but can still return one of those.

        This happens if one was restored by hand: only values show it.
        """
        return bool(self.revoked_by) and info.served and not self.ends(info) and bool(self.ended_in(info))

    def ended_in(self, info: SecretInfo) -> list[int]:
        """The numbers of revoked versions that the hub can still return."""
        readable = (version.version for version in info.versions if version.readable)
        return [number for number in readable if number <= self.revoked_up_to]

    def speaks_against(self, info: SecretInfo) -> bool:
        """Whether the hub may have lost something recorded here."""
        return self.ahead_of(info) or self.ends(info) or self.may_be_back(info)

    def beyond(self, version: int) -> bool:
        """Whether a hub at this version may have lost something."""
        return self.version > version or bool(self.revoked_by)

    @property
    def order(self) -> tuple[bool, float, int]:
        """Sort key, newest greatest: by the hub's clock, or else by number."""
        return self.created_at is not None, self.created_at.timestamp() if self.created_at else 0.0, self.version
