"""The port of the ledger: a tamper-evident log of who did what to which secret."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol


class Outcome(StrEnum):
    """The progress of an action when its entry is written."""

    BEGUN = "begun"
    """Written before any change."""
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"
    """The requester lacks the permission; nothing was changed."""


VERSIONED: Final = ("promote", "push", "recover", "rehydrate", "revert")
"""Actions whose entries record the newest version at that time."""


@dataclass(frozen=True)
class Entry:
    """One action, without values; missing facts are empty.

    ``time`` is UTC, ``actor`` the hub's identity, ``host`` the machine. ``run`` is a remark: Prefect run or process,
    and the requester. ``secret`` is a hub path, ``version`` the hub's, ``fingerprint`` 64 hex digits. ``place`` is the
    destination (``store:name``), target or consumer. ``note`` is the reason or the error's text.
    """

    time: datetime
    actor: str
    action: str
    outcome: Outcome
    secret: str = ""
    version: int = 0
    fingerprint: str = ""
    place: str = ""
    note: str = ""
    run: str = ""
    host: str = ""


@dataclass(frozen=True)
class NewestVersion:
    """The ledger's newest version of a secret, and whether it was ended since.

    ``action`` recorded it. ``revoked_by`` is the incident with a later cut, which ended versions up to
    ``revoked_up_to``, 0 if unknown. ``version`` is 0 if only a cut is recorded.
    """

    action: str
    version: int
    fingerprint: str
    revoked_by: str = ""
    revoked_up_to: int = 0


class Ledger(Protocol):
    """Storage of entries. Serves many threads, and several processes per ledger."""

    def append(self, entries: Sequence[Entry]) -> "int | str | None":
        """Write all entries in order, or none, and return once durable.

        Return the last number, with the ledger's name and a space before it, as far as known. Raises Unrecorded.
        """

    def append_missing(self, entries: Sequence[Entry]) -> int:
        """Write the missing entries in one transaction, and return their number.

        Identity is by canonical bytes; of concurrent writers only one writes each. Raises Unrecorded.
        """

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """The last recorded version of each secret, without those that have none.

        Includes a later cut by an incident, from its beginning. Only completed actions in VERSIONED count. Uses
        indexes, and writes only missing ones. Raises Unavailable.
        """

    def close(self) -> None:
        """Release it; it can't be written afterwards."""


class Signer(Protocol):
    """A remote Ed25519 signing key (RFC 8032)."""

    def public_key(self) -> bytes:
        """The public key, 32 bytes."""

    def public_keys(self) -> Sequence[bytes]:
        """Public keys of all stored versions, 32 bytes each, the signing one last."""

    def sign(self, message: bytes) -> bytes:
        """Return a signature of 64 bytes."""

    def earlier(self, public_key: bytes) -> "Signer":
        """The version with this public key, for signing. Raises NotFound."""
