"""The ports of a ledger that can be read: what a verifier reads, and what makes checkpoints and proofs."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from keyturn.core.ports.ledger import Ledger


class Entries(Protocol):
    """Something that entries and checkpoints can be read from.

    A leaf is the canonical bytes of one entry. Nothing of it is trusted before it was compared with the checkpoints.
    """

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Stored sequence numbers from ``first`` to ``last``, or to the end, in order, each with its leaf.

        They come as a stream, in constant memory.
        """

    def checkpoints(self) -> Iterator[str]:
        """The signed notes, oldest first."""


class LedgerSource(Entries, Protocol):
    """A ledger, a copy of one, or an export: what can be verified."""

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The same as ``leaves``, as it is stored: each leaf without its number (see ``keyturn.ledger.entries``)."""

    def tile(self, level: int, number: int) -> bytes:
        """Hashes of a tile, as ``keyturn.ledger.storage.tiles`` tells; empty where none are stored."""


Tiles = Mapping[tuple[int, int], bytes]
"""Hashes by level and number of the tile."""


class StoredLedger(Ledger, LedgerSource, Protocol):
    """A ledger that keeps its checkpoints next to its entries. ``origin`` names it in them, ``address`` says where."""

    @property
    def origin(self) -> str: ...

    @property
    def address(self) -> str: ...

    def try_writing(self) -> None:
        """Raise Unrecorded where an append would, such as on a full disk. Nothing of it stays."""

    def size(self) -> int:
        """How many entries it has, which is the newest one's sequence number."""

    def newest(self) -> str:
        """The newest checkpoint; empty without one."""

    def keep(self, note: str, size: int, tiles: Tiles, *, after: str) -> None:
        """Add a checkpoint of the first ``size`` entries, and lay ``tiles`` over those stored, both or neither.

        Raises Conflict when the newest one is not ``after``, and Unrecorded.
        """
