"""Tiles that grow with a tree give its nodes."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.ledger.merkle import CompactRange, inclusion_proof, leaf_hashes, tree_root, verify_inclusion
from keyturn.ledger.storage.tiles import WIDTH, Stored, grown, nodes_of

MANY = leaf_hashes(b"%d" % number for number in range(40_000))


def stored(tiles: Mapping[tuple[int, int], bytes]) -> Stored:
    return lambda level, number: tiles.get((level, number), b"")


def tiles_of(*steps: int) -> dict[tuple[int, int], bytes]:
    tiles: dict[tuple[int, int], bytes] = {}
    begun = 0
    for step in steps:
        tiles |= grown(stored(tiles), begun, MANY[begun : begun + step])
        begun += step
    return tiles


@given(st.lists(st.integers(0, 700), min_size=1, max_size=6))
def test_tiles_are_the_same_in_whatever_steps_a_tree_grew(steps: list[int]) -> None:
    assert tiles_of(*steps) == tiles_of(sum(steps))


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 63, 64, 1_023, 1_024, 1_025, 5_000, 32_767, 32_768, 32_769, 40_000])
def test_a_tree_of_any_height_is_read_from_its_tiles(size: int) -> None:
    tiles, compact_range = tiles_of(size), CompactRange()
    compact_range.extend(MANY[:size])
    nodes = nodes_of(stored(tiles))
    assert tree_root(nodes, size) == compact_range.root()
    for index in {0, size // 3, size - 1}:
        assert verify_inclusion(MANY[index], index, size, inclusion_proof(nodes, index, size), compact_range.root())


def test_an_older_tree_is_read_from_tiles_that_have_grown() -> None:
    tiles, compact_range = tiles_of(900, 39_000), CompactRange()
    compact_range.extend(MANY[:900])
    assert tree_root(nodes_of(stored(tiles)), 900) == compact_range.root()


def test_only_what_changes_is_written_again() -> None:
    tiles = tiles_of(WIDTH * 3 + 5)
    changed = grown(stored(tiles), WIDTH * 3 + 5, MANY[:1])
    assert set(changed) == {(0, 3)}


def test_a_missing_tile_is_told() -> None:
    tiles = tiles_of(600)
    del tiles[0, 9]
    with pytest.raises(LookupError, match="tile 9 of level 0 is not whole"):
        inclusion_proof(nodes_of(stored(tiles)), 300, 600)
