"""The ports of a readable ledger, for verification, checkpoints and proofs."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from keyturn.core.ports.ledger import Ledger


class Entries(Protocol):
    """A source of entries and checkpoints, untrusted until verified. A leaf is an entry's canonical bytes."""

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Stream the numbers ``first`` to ``last``, or to the end, with their leaves, in order and constant memory."""

    def checkpoints(self) -> Iterator[str]:
        """The signed notes, oldest first."""


class LedgerSource(Entries, Protocol):
    """A ledger, a copy of one, or an export."""

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The same with tails (see ``keyturn.ledger.entries``)."""

    def tile(self, level: int, number: int) -> bytes:
        """Hashes of a tile (see ``keyturn.ledger.storage.tiles``); empty where none are stored."""


Tiles = Mapping[tuple[int, int], bytes]
"""Hashes by level and number of the tile."""


class StoredLedger(Ledger, LedgerSource, Protocol):
    """A ledger with its checkpoints. ``origin`` is its name in them, ``address`` its location."""

    @property
    def origin(self) -> str: ...

    @property
    def address(self) -> str: ...

    def try_writing(self) -> None:
        """Raise Unrecorded where an append would fail. Nothing is kept."""

    def size(self) -> int:
        """The number of entries, which is the newest sequence number."""

    def newest(self) -> str:
        """The newest checkpoint; empty without one."""

    def keep(self, note: str, size: int, tiles: Tiles, *, after: str) -> None:
        """Add a checkpoint of the first ``size`` entries and overwrite ``tiles``, both or neither.

        Raises Conflict when the newest one is not ``after``, and Unrecorded.
        """
