"""What keeps memory within bounds."""

from collections.abc import Callable, Hashable
from heapq import nsmallest
from typing import Final, TypeVar

SPARE: Final = 10
"""What is full is emptied by this part of it, so that it need not be looked through again soon."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def drop_least(mapping: dict[Key, Value], most: int, rank: Callable[[Value], float]) -> int:
    """Take those of the lowest rank out of what has grown above ``most``, and some more; how many they were."""
    over = len(mapping) - most + most // SPARE
    for key in nsmallest(over, mapping, key=lambda key: rank(mapping[key])):
        del mapping[key]
    return over
