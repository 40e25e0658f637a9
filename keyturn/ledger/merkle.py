"""RFC 6962 Merkle trees: roots, inclusion proofs and consistency proofs, and whether they hold. Pure.

A tree is read through ``Nodes``: the hashes of its complete subtrees. The node (level, index) covers the leaves from
``index << level`` up to, and without, ``(index + 1) << level``. Leaves are counted from 0. The algorithms that check
proofs are those of RFC 9162, parts 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

HASH_SIZE: Final = 32
"""Bytes of SHA-256."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

Nodes = Callable[[int, int], bytes]
"""The hash of the complete subtree at (level, index), 32 bytes."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """The hash of each leaf."""
    # No call of our own for each, here and for the pairs below: verifying spends most of its time in these two.
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


def hashes_above(hashes: Iterable[bytes]) -> list[bytes]:
    """The hashes one level higher; an odd one at the end is left out."""
    sha256, pairs = hashlib.sha256, iter(hashes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


Subtree = tuple[int, bytes]
"""A complete subtree by its level, and its hash: it covers ``1 << level`` leaves."""


def subtrees_of(first: int, hashes: Sequence[bytes]) -> list[Subtree]:
    """The fewest complete subtrees that the leaves from ``first`` on, counted from 0, make up, left to right."""
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
    """The right edge of a tree that grows: all that a root needs, one hash for each bit of the size."""

    def __init__(self) -> None:
        self.size = 0
        self._open: list[bytes] = []
        """By level: the hash of a complete subtree that waits for its right sibling, empty where none does."""

    def extend(self, added: Sequence[bytes]) -> None:
        """Add leaves by their hashes; many at once cost less."""
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
        """Add a complete subtree, which must begin where one of its size may. Raises ValueError."""
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
    """The hashes that lead from a leaf to the root of the first ``size`` leaves (RFC 6962, part 2.1.1)."""
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
    """The hashes that show that the first ``older`` leaves are those of the newer tree, too (RFC 6962, 2.1.2)."""
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
    """Whether the proof leads from the leaf's hash to the root. What is not as long as a hash proves nothing."""
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

    An empty tree has one root, on either side, and every tree continues it; its proof is empty, as that of a tree
    that has not grown.
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
    """Whether both roots may stand where the older tree is empty, or as large as the newer one."""
    of_empty = [root for size, root in ((older, older_root), (newer, newer_root)) if not size]
    return all(root == EMPTY_ROOT for root in of_empty) and (older != newer or older_root == newer_root)


def _hashes(*values: bytes) -> bool:
    """Whether each is as long as a hash: with others the same bytes could be cut in two in other places."""
    return all(len(value) == HASH_SIZE for value in values)


def _after_left_sibling(node: int, last: int) -> tuple[int, int]:
    """Up one level, and on through those where the node is the last and has no sibling."""
    while not node & 1 and node:
        node, last = node >> 1, last >> 1
    return node >> 1, last >> 1


def left_size(size: int) -> int:
    """How many of ``size`` leaves, two at least, are in the left subtree: the largest power of two below."""
    return 1 << (size - 1).bit_length() - 1


def range_hash(nodes: Nodes, first: int, last: int) -> bytes:
    """The hash of the subtree of these leaves; ``first`` is where a complete subtree of that size may begin."""
    return _root_above([nodes(level, index) for level, index in _complete(first, last)])


def _complete(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees that make up a range, largest first."""
    while first < last:
        level = (last - first).bit_length() - 1
        yield level, first >> level
        first += 1 << level


def _root_above(hashes: Sequence[bytes]) -> bytes:
    """The root above complete subtrees that become smaller from left to right."""
    if not hashes:
        return EMPTY_ROOT
    computed = hashes[-1]
    for left in reversed(hashes[:-1]):
        computed = node_hash(left, computed)
    return computed
