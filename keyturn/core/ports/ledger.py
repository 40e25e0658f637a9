"""The port of the ledger: what was done, by whom, to which secret, written so that nobody can take it back quietly."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol


class Outcome(StrEnum):
    """How far an action has come when its entry is written."""

    BEGUN = "begun"
    """It is written before anything is changed."""
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"
    """Whoever asked lacks the permission, and nothing was changed."""


VERSIONED: Final = ("promote", "push", "recover", "rehydrate", "revert")
"""The actions whose entries tell which version of a secret was the newest when they were done."""


@dataclass(frozen=True)
class Entry:
    """One action, in names only; what has none of a thing leaves it empty.

    ``time`` is UTC. ``actor`` is whom the hub takes the login for, ``host`` the machine. ``run`` is a remark: the
    Prefect run or process that it was done in, and who asked as far as that knows. ``secret`` is a hub path,
    ``version`` the hub's, ``fingerprint`` 64 hex digits. ``place`` is the destination (``store:name``), target or
    consumer that it was done to, ``note`` a remark: why, or the error's words.
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
    """What the ledger knows of a secret's newest version, by which action's entry, and whether it was ended since.

    ``revoked_by`` is the incident whose cut is later than that entry, empty without one; it ended the versions up to
    ``revoked_up_to``, 0 where the ledger does not tell. Of a secret that only a cut tells of, ``version`` is 0.
    """

    action: str
    version: int
    fingerprint: str
    revoked_by: str = ""
    revoked_up_to: int = 0


class Ledger(Protocol):
    """Where entries are written. One instance serves many threads, several processes may write the same ledger."""

    def append(self, entries: Sequence[Entry]) -> "int | str | None":
        """Write these, one after the other and all of them or none, and return once they are durable.

        Where it knows, it gives the number of the last of them; one that knows its ledger's name, that before it, with
        a space between. Raises Unrecorded.
        """

    def append_missing(self, entries: Sequence[Entry]) -> int:
        """Write those of these that it has not got yet, in one transaction, and return how many that were.

        An entry is known by its canonical bytes. Of several that try at the same time each entry is written by one.
        Raises Unrecorded.
        """

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """What the last entry of each of these secrets tells that tells of a version; what has none is left out.

        So is a cut by an incident that has come since. Both are found by indexes, and nothing is written but these,
        where they are missing. Only what is done counts, of the actions in VERSIONED; a cut counts from where it
        begins. Raises Unavailable.
        """

    def close(self) -> None:
        """Let go of it; it can't be written afterwards."""


class Signer(Protocol):
    """An Ed25519 key that signs elsewhere (RFC 8032)."""

    def public_key(self) -> bytes:
        """Its public half, 32 bytes."""

    def public_keys(self) -> Sequence[bytes]:
        """The public halves of all versions that are kept of it, 32 bytes each, the one that signs last."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""

    def earlier(self, public_key: bytes) -> "Signer":
        """The version of it that has this public half, to sign with. Raises NotFound where it has none such."""
