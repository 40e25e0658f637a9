"""RFC 6962 Merkle trees, their proofs and verification. Pure.

``Nodes`` gives the hashes of complete subtrees. Node (level, index) covers leaves ``index << level`` up to, but
without, ``(index + 1) << level``, counted from 0. Verification follows RFC 9162, parts 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

HASH_SIZE: Final = 32
"""Bytes of SHA-256."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

Nodes = Callable[[int, int], bytes]
"""The 32-byte hash of the complete subtree at (level, index)."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """The hash of each leaf."""
    # No Python function call per hash, here and for the pairs below: verification spends most of its time here.
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


def hashes_above(hashes: Iterable[bytes]) -> list[bytes]:
    """The hashes one level higher, without an odd last one."""
    sha256, pairs = hashlib.sha256, iter(hashes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


Subtree = tuple[int, bytes]
"""A complete subtree of ``1 << level`` leaves: its level and hash."""


def subtrees_of(first: int, hashes: Sequence[bytes]) -> list[Subtree]:
    """The fewest complete subtrees over the leaves from ``first`` on."""
    left, right, level, rest = list[Subtree](), list[Subtree](), 0, list(hashes)
    while rest:
        if first % 2:
            left.append((level, rest[0]))
            del rest[0]
        if len(rest) % 2:
            right.append((level, rest.pop()))
        rest, first, level = hashes_above(rest), (first + 1) // 2, level + 1
    return [*left, *reversed(right)]


class CompactRange:
    """The right edge of a growing tree: one hash per bit of the size."""

    def __init__(self) -> None:
        self.size = 0
        self._open: list[bytes] = []
        """By level: the hash of a subtree without a right sibling yet, else empty."""

    def extend(self, added: Sequence[bytes]) -> None:
        """Add leaves by their hashes. Larger batches cost less."""
        self.size += len(added)
        hashes, level = list(added), 0
        while hashes:
            if level == len(self._open):
                self._open.append(b"")
            if self._open[level]:
                hashes.insert(0, self._open[level])
            self._open[level] = hashes[-1] if len(hashes) % 2 else b""
            hashes, level = hashes_above(hashes), level + 1

    def add(self, subtree: Subtree) -> None:
        """Add a complete subtree. Raises ValueError where none can begin."""
        level, computed = subtree
        if self.size % (1 << level):
            raise ValueError(f"no subtree of level {level} begins at {self.size}")
        self.size += 1 << level
        self._open += [b""] * (level + 1 - len(self._open))
        while self._open[level]:
            computed, self._open[level] = node_hash(self._open[level], computed), b""
            level += 1
            self._open += [b""] * (level + 1 - len(self._open))
        self._open[level] = computed

    def root(self) -> bytes:
        """The root of all leaves so far."""
        return _root_above([waiting for waiting in reversed(self._open) if waiting])


def tree_root(nodes: Nodes, size: int) -> bytes:
    """The root of the first ``size`` leaves."""
    return range_hash(nodes, 0, size)


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The inclusion proof of a leaf (RFC 6962, part 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    first, last, hashes = 0, size, []
    while last - first > 1:
        middle = first + left_size(last - first)
        if index < middle:
            hashes.append(range_hash(nodes, middle, last))
            last = middle
        else:
            hashes.append(range_hash(nodes, first, middle))
            first = middle
    return hashes[::-1]


def consistency_proof(nodes: Nodes, older: int, newer: int) -> list[bytes]:
    """The consistency proof between two sizes (RFC 6962, part 2.1.2)."""
    if not 0 <= older <= newer:
        raise ValueError(f"a tree of {older} leaves does not become one of {newer}")
    if older in (0, newer):
        return []
    first, last, whole, hashes = 0, newer, True, []
    while older != last:
        middle = first + left_size(last - first)
        if older <= middle:
            hashes.append(range_hash(nodes, middle, last))
            last = middle
        else:
            hashes.append(range_hash(nodes, first, middle))
            first, whole = middle, False
    if not whole:
        hashes.append(range_hash(nodes, first, last))
    return hashes[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof connects the leaf's hash to the root. Other lengths prove nothing."""
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    node, last, computed = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(other, computed)
            node, last = _after_left_sibling(node, last)
        else:
            computed = node_hash(computed, other)
            node, last = node >> 1, last >> 1
    return last == 0 and computed == root


def verify_consistency(older: int, newer: int, older_root: bytes, newer_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the newer tree begins with the older one's leaves.

    For an empty older tree or equal sizes the proof is empty.
    """
    if not 0 <= older <= newer or not _hashes(older_root, newer_root, *proof):
        return False
    if older in (0, newer):
        return not proof and _roots_of_equals(older, newer, older_root, newer_root)
    # Where the older tree is complete, its root is a node of the newer tree, and the proof leaves it out.
    path = [older_root, *proof] if older & (older - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = older - 1, newer - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    in_older = in_newer = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            in_older, in_newer = node_hash(other, in_older), node_hash(other, in_newer)
            node, last = _after_left_sibling(node, last)
        else:
            in_newer = node_hash(in_newer, other)
            node, last = node >> 1, last >> 1
    return last == 0 and in_older == older_root and in_newer == newer_root


def _roots_of_equals(older: int, newer: int, older_root: bytes, newer_root: bytes) -> bool:
    """Whether both roots are possible where one tree is empty or the sizes are equal."""
    of_empty = [root for size, root in ((older, older_root), (newer, newer_root)) if not size]
    return all(root == EMPTY_ROOT for root in of_empty) and (older != newer or older_root == newer_root)


def _hashes(*values: bytes) -> bool:
    """Whether each has a hash's length. Otherwise bytes could be split elsewhere."""
    return all(len(value) == HASH_SIZE for value in values)


def _after_left_sibling(node: int, last: int) -> tuple[int, int]:
    """Up one level, then past levels without a sibling."""
    while not node & 1 and node:
        node, last = node >> 1, last >> 1
    return node >> 1, last >> 1


def left_size(size: int) -> int:
    """The size of the left subtree: the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def range_hash(nodes: Nodes, first: int, last: int) -> bytes:
    """The hash above these leaves. Such a subtree must be able to begin at ``first``."""
    return _root_above([nodes(level, index) for level, index in _complete(first, last)])


def _complete(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees of a range, largest first."""
    while first < last:
        level = (last - first).bit_length() - 1
        yield level, first >> level
        first += 1 << level


def _root_above(hashes: Sequence[bytes]) -> bytes:
    """The root above complete subtrees, largest first."""
    if not hashes:
        return EMPTY_ROOT
    computed = hashes[-1]
    for left in reversed(hashes[:-1]):
        computed = node_hash(left, computed)
    return computed
