"""Tiles: rows of 32 hashes of complete subtrees, for fast proofs. They are never trusted.

Tile (level, number) holds the nodes of tree level ``5 * level`` from ``32 * number`` on. A level's last one may be
shorter. A proof among a million leaves reads 8 tiles and hashes about 200 times.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from keyturn.ledger.merkle import HASH_SIZE, Nodes, hashes_above

HEIGHT: Final = 5
WIDTH: Final = 1 << HEIGHT

Stored = Callable[[int, int], bytes]
"""A tile's hashes by level and number; empty where none are stored."""


def grown(stored: Stored, size: int, leaf_hashes: Sequence[bytes]) -> Mapping[tuple[int, int], bytes]:
    """The tiles, whole, that change when leaves follow the first ``size``."""
    changed: dict[tuple[int, int], bytes] = {}
    level, begun, hashes = 0, size, list(leaf_hashes)
    while hashes:
        number = begun // WIDTH
        before = stored(level, number)[: begun % WIDTH * HASH_SIZE] if begun % WIDTH else b""
        hashes = [*_split(before), *hashes]
        rows = [hashes[at : at + WIDTH] for at in range(0, len(hashes), WIDTH)]
        changed |= {(level, number + place): b"".join(row) for place, row in enumerate(rows)}
        hashes = [_folded(row) for row in rows if len(row) == WIDTH]
        level, begun = level + 1, number
    return changed


def nodes_of(stored: Stored) -> Nodes:
    """A tree's nodes by its tiles. Raises LookupError for a missing or short tile.

    It caches every tile, so use it for one proof.
    """
    read: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        tile, height = divmod(level, HEIGHT)
        number, place = divmod(index << height, WIDTH)
        if (tile, number) not in read:
            read[tile, number] = stored(tile, number)
        hashes = read[tile, number][place * HASH_SIZE : (place + (1 << height)) * HASH_SIZE]
        if len(hashes) != HASH_SIZE << height:
            raise LookupError(f"tile {number} of level {tile} is not whole")
        return _folded(_split(hashes))

    return node


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]


def _folded(hashes: list[bytes]) -> bytes:
    """The hash above a complete subtree's hashes."""
    while len(hashes) > 1:
        hashes = hashes_above(hashes)
    return hashes[0]
