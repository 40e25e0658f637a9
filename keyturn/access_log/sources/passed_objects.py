"""Detect objects that arrived behind a reader's position, with a few bytes of state.

The state is a count and the XOR of the keys' digests. The latest arrivals are new if their digests match the
difference. So each is identified, or known to be missed.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import accumulate
from operator import xor
from typing import Final, Protocol, TypeVar

from msgspec import Struct

BYTES: Final = 6
"""Bytes of each key's SHA-256. Two differences are equal with a chance of 2 to the power of -48."""


class Keyed(Protocol):
    """An object with a key."""

    @property
    def key(self) -> str:
        """Its key."""


T = TypeVar("T", bound=Keyed)


class Passed(Struct, frozen=True):
    """The number of objects up to a key, and the XOR of their keys' digests."""

    count: int = 0
    digest: int = 0

    def __add__(self, other: "Passed") -> "Passed":
        """The sum of both."""
        return Passed(self.count + other.count, self.digest ^ other.digest)

    def __sub__(self, other: "Passed") -> "Passed":
        """The rest without a subset."""
        return Passed(self.count - other.count, self.digest ^ other.digest)

    def encode(self) -> str:
        """Encode the digest as text."""
        return urlsafe_b64encode(self.digest.to_bytes(BYTES)).decode()

    @staticmethod
    def parse(count: int, text: str) -> "Passed | None":
        """Decode it, None for invalid text."""
        try:
            data = urlsafe_b64decode(text)
        except ValueError:
            return None
        return Passed(count, int.from_bytes(data)) if len(data) == BYTES else None


def passed_of(keys: Iterable[str]) -> Passed:
    """The sum of these keys."""
    digests = [_digest(key) for key in keys]
    return Passed(len(digests), reduce(xor, digests, 0))


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:BYTES])


class PassedKeys:
    """The sums of a listing's first keys."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = list(accumulate(map(_digest, keys), xor, initial=0))

    def up_to(self, count: int) -> Passed:
        """The sum of the first ``count`` keys."""
        return Passed(count, self._digests[count])


def find_late(arrived: Sequence[T], difference: Passed) -> list[T] | None:
    """Find the objects that arrived since the count, in order of arrival.

    ``arrived`` are all current ones, ``difference`` is the new sum without the old one. None if unknown, as after
    removals.
    """
    newest = list(arrived[-difference.count :]) if difference.count > 0 else []
    if newest and passed_of(stored.key for stored in newest) == difference:
        return newest
    if difference.count == 1:
        # Independent of the arrival time in its store.
        return next(([stored] for stored in arrived if _digest(stored.key) == difference.digest), None)
    return None
