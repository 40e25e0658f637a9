"""Limits of memory."""

from collections.abc import Callable, Hashable
from heapq import nsmallest
from typing import Final, TypeVar

SPARE: Final = 10
"""The part of a full mapping that is removed, to make the next removal late."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def drop_least(mapping: dict[Key, Value], most: int, rank: Callable[[Value], float]) -> int:
    """Remove the lowest ranks of a mapping above ``most``, and return how many."""
    over = len(mapping) - most + most // SPARE
    for key in nsmallest(over, mapping, key=lambda key: rank(mapping[key])):
        del mapping[key]
    return over
