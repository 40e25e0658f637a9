"""The tree's hashes and proofs: the vectors of Certificate Transparency (RFC 6962), and properties for any size."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.ledger.merkle import (
    EMPTY_ROOT,
    CompactRange,
    Nodes,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.support import sampling

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]

ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Of the first 0 to 8 leaves."""

INCLUSION = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
"""By the leaf, counted from 0, and the tree's size."""

CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
"""By the older and the newer size."""


def nodes_over(hashes: Sequence[bytes]) -> Nodes:
    """Complete subtrees, as the RFC's definition tells them."""

    def node(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node


def defined(hashes: Sequence[bytes]) -> bytes:
    """The root as the RFC defines it, in part 2.1."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    left = max(1 << power for power in range(16) if 1 << power < len(hashes))
    return node_hash(defined(hashes[:left]), defined(hashes[left:]))


NODES = nodes_over(leaf_hashes(LEAVES))
MANY = leaf_hashes(b"%d" % number for number in range(300))
OF_MANY = nodes_over(MANY)


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots(size: int) -> None:
    grown = CompactRange()
    for leaf in LEAVES[:size]:
        grown.extend([leaf_hash(leaf)])
    assert tree_root(NODES, size).hex() == grown.root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_the_published_inclusion_proofs(index: int, size: int) -> None:
    proof = [bytes.fromhex(hash_) for hash_ in INCLUSION[index, size]]
    assert inclusion_proof(NODES, index, size) == proof
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("older", "newer"), CONSISTENCY)
def test_the_published_consistency_proofs(older: int, newer: int) -> None:
    proof = [bytes.fromhex(hash_) for hash_ in CONSISTENCY[older, newer]]
    assert consistency_proof(NODES, older, newer) == proof
    assert verify_consistency(older, newer, bytes.fromhex(ROOTS[older]), bytes.fromhex(ROOTS[newer]), proof)


@given(st.lists(st.integers(0, 60), max_size=8))
def test_a_tree_that_grows_in_any_steps_has_the_root_that_is_defined(steps: list[int]) -> None:
    grown, begun = CompactRange(), 0
    for step in steps:
        grown.extend(MANY[begun : begun + step])
        begun = min(begun + step, len(MANY))
    assert grown.size == begun
    assert grown.root() == defined(MANY[:begun]) == tree_root(OF_MANY, begun)


@given(st.data())
def test_a_leaf_is_proved_where_it_is_and_nowhere_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(MANY)))
    index = data.draw(st.integers(0, size - 1))
    proof, top = inclusion_proof(OF_MANY, index, size), tree_root(OF_MANY, size)
    assert verify_inclusion(MANY[index], index, size, proof, top)
    other = data.draw(st.integers(-1, size + 1))
    assert verify_inclusion(MANY[index], other, size, proof, top) == (other == index)
    assert not verify_inclusion(MANY[(index + 1) % len(MANY)], index, size, proof, top)
    assert not verify_inclusion(MANY[index], index, size, [*proof, top], top)
    assert not verify_inclusion(MANY[index], index, size, proof[:-1], top) or not proof
    assert not verify_inclusion(MANY[index], index, size, proof, MANY[0]) or size == 1


@given(st.data())
def test_a_tree_is_proved_to_continue_its_own_beginning_and_no_other(data: st.DataObject) -> None:
    newer = data.draw(st.integers(1, len(MANY)))
    older = data.draw(st.integers(1, newer))
    proof = consistency_proof(OF_MANY, older, newer)
    before, after = tree_root(OF_MANY, older), tree_root(OF_MANY, newer)
    assert verify_consistency(older, newer, before, after, proof)
    assert not verify_consistency(older, newer, leaf_hash(b"x"), after, proof)
    assert not verify_consistency(older, newer, before, leaf_hash(b"x"), proof)
    assert not verify_consistency(older, newer, before, after, [*proof, before])
    if proof:
        assert not verify_consistency(older, newer, before, after, proof[:-1])
        assert not verify_consistency(older, newer, before, after, [leaf_hash(b"x"), *proof[1:]])


def test_any_tree_continues_the_empty_one() -> None:
    assert consistency_proof(NODES, 0, 8) == []
    assert verify_consistency(0, 8, EMPTY_ROOT, bytes.fromhex(ROOTS[8]), [])
    assert not verify_consistency(0, 8, bytes.fromhex(ROOTS[1]), bytes.fromhex(ROOTS[8]), [])


def test_what_is_in_no_tree_is_asked_for_in_vain() -> None:
    with pytest.raises(ValueError, match="no leaf 8 in a tree of 8"):
        inclusion_proof(NODES, 8, 8)
    with pytest.raises(ValueError, match="a tree of 8 leaves does not become one of 7"):
        consistency_proof(NODES, 8, 7)


@settings(max_examples=sampling.examples(20, 50))
@given(st.integers(1, 300), st.integers(0, 8), st.binary(min_size=32, max_size=32))
def test_a_proof_with_a_changed_hash_does_not_hold(size: int, place: int, other: bytes) -> None:
    index = size // 2
    proof = inclusion_proof(OF_MANY, index, size)
    if place < len(proof):
        proof[place] = other
        assert not verify_inclusion(MANY[index], index, size, proof, tree_root(OF_MANY, size))


X = leaf_hash(b"x")


@pytest.mark.parametrize("size", [1, 2, 7, 8])
@pytest.mark.parametrize("cut", [lambda one: b"", lambda one: one[:-1], lambda one: one + b"\0", lambda one: one * 2])
def test_what_is_not_as_long_as_a_hash_proves_nothing(size: int, cut: Callable[[bytes], bytes]) -> None:
    proof, top = inclusion_proof(NODES, size // 2, size), tree_root(NODES, size)
    first = leaf_hash(LEAVES[size // 2])
    assert verify_inclusion(first, size // 2, size, proof, top)
    assert not verify_inclusion(cut(first), size // 2, size, proof, top)
    assert not verify_inclusion(first, size // 2, size, proof, cut(top))
    for place in range(len(proof)):
        assert not verify_inclusion(
            first, size // 2, size, [*proof[:place], cut(proof[place]), *proof[place + 1 :]], top
        )


@pytest.mark.parametrize("older", [0, 1, 2, 6, 8])
@pytest.mark.parametrize("cut", [lambda one: b"", lambda one: one[:-1], lambda one: one + b"\0", lambda one: one * 2])
def test_growth_is_not_proved_by_what_is_not_as_long_as_a_hash(older: int, cut: Callable[[bytes], bytes]) -> None:
    proof, before, after = consistency_proof(NODES, older, 8), tree_root(NODES, older), tree_root(NODES, 8)
    assert verify_consistency(older, 8, before, after, proof)
    assert not verify_consistency(older, 8, cut(before), after, proof)
    assert not verify_consistency(older, 8, before, cut(after), proof)
    assert not verify_consistency(older, 8, cut(before), cut(after), proof)
    for place in range(len(proof)):
        assert not verify_consistency(older, 8, before, after, [*proof[:place], cut(proof[place]), *proof[place + 1 :]])


def test_two_hashes_in_one_do_not_pass_for_the_node_above_them() -> None:
    """A leaf that is the two children of a node, and a hash that is empty: the same bytes, cut elsewhere."""
    left, right = leaf_hashes(LEAVES[:2])
    top = node_hash(left, right)
    assert node_hash(left + right, b"") == top
    assert not verify_inclusion(left + right, 0, 2, [b""], top)
    assert not verify_inclusion(b"", 1, 2, [left + right], top)


def test_an_empty_tree_has_one_root_on_either_side() -> None:
    eight = bytes.fromhex(ROOTS[8])
    assert verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    for before, after in ((X, X), (EMPTY_ROOT, X), (X, EMPTY_ROOT), (b"", b""), (EMPTY_ROOT, b"")):
        assert not verify_consistency(0, 0, before, after, [])
    assert not verify_consistency(0, 8, X, eight, [])
    assert not verify_consistency(0, 8, eight, eight, [])
    assert not verify_consistency(0, 8, EMPTY_ROOT, eight, [X])
    assert not verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [X])
    assert not verify_inclusion(X, 0, 0, [], EMPTY_ROOT)
    assert not verify_inclusion(EMPTY_ROOT, 0, 0, [], EMPTY_ROOT)


def test_trees_of_one_size_have_one_root_and_nothing_to_prove() -> None:
    eight = bytes.fromhex(ROOTS[8])
    assert verify_consistency(8, 8, eight, eight, [])
    assert not verify_consistency(8, 8, eight, X, [])
    assert not verify_consistency(8, 8, X, eight, [])
    assert not verify_consistency(8, 8, eight, eight, [X])


@pytest.mark.parametrize(("older", "newer"), [(-1, 8), (8, -1), (-2, -1), (8, 7), (1 << 80, 1 << 70), (1, 1 << 80)])
def test_sizes_that_no_tree_has_are_refused(older: int, newer: int) -> None:
    proof = [X] * 90
    assert not verify_consistency(older, newer, X, X, proof)
    assert not verify_inclusion(X, older, newer, proof, X)


@given(
    st.tuples(st.integers(-2, 20), st.integers(-2, 20)),
    st.tuples(st.binary(max_size=40), st.binary(max_size=40)),
    st.lists(st.binary(max_size=33) | st.binary(min_size=32, max_size=32), max_size=6),
)
def test_whatever_is_given_as_a_proof_is_true_or_false(
    sizes: tuple[int, int], hashes: tuple[bytes, bytes], proof: list[bytes]
) -> None:
    assert verify_inclusion(hashes[0], *sizes, proof, hashes[1]) is False
    told = verify_consistency(*sizes, *hashes, proof)
    assert told is False or sizes[0] == sizes[1] > 0
