"""Objects that a reader has passed by: how it is known, in a few bytes, which one has come behind it since.

Of those that were passed a count is kept, and the XOR of their keys' digests. What has come since is told by both
together: they are the last that came, where their digests make up the difference. So each is found for certain, or it
is known that some can't be.
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
"""Of each key's SHA-256: the chance that two differences are the same is one in 2 to the power of 48."""


class Keyed(Protocol):
    """What has a key."""

    @property
    def key(self) -> str:
        """Its name."""


T = TypeVar("T", bound=Keyed)


class Passed(Struct, frozen=True):
    """How many objects there are up to a key, and the XOR of their keys' digests."""

    count: int = 0
    digest: int = 0

    def __add__(self, other: "Passed") -> "Passed":
        """Both together."""
        return Passed(self.count + other.count, self.digest ^ other.digest)

    def __sub__(self, other: "Passed") -> "Passed":
        """What this has and the other has not, where it has all of that one's."""
        return Passed(self.count - other.count, self.digest ^ other.digest)

    def encode(self) -> str:
        """The digest as text."""
        return urlsafe_b64encode(self.digest.to_bytes(BYTES)).decode()

    @staticmethod
    def parse(count: int, text: str) -> "Passed | None":
        """Read it back; None for what is none."""
        try:
            data = urlsafe_b64decode(text)
        except ValueError:
            return None
        return Passed(count, int.from_bytes(data)) if len(data) == BYTES else None


def passed_of(keys: Iterable[str]) -> Passed:
    """These keys together."""
    digests = [_digest(key) for key in keys]
    return Passed(len(digests), reduce(xor, digests, 0))


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:BYTES])


class PassedKeys:
    """What the first so many keys of a listing come to."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = list(accumulate(map(_digest, keys), xor, initial=0))

    def up_to(self, count: int) -> Passed:
        """The first ``count`` together."""
        return Passed(count, self._digests[count])


def find_late(arrived: Sequence[T], difference: Passed) -> list[T] | None:
    """Which of those that were passed came since they were counted, in the order in which they came.

    ``arrived`` are all that are there now, the last that came last; ``difference`` is what they come to now without
    what they came to then. None where nobody can tell, as where others were removed at the same time.
    """
    newest = list(arrived[-difference.count :]) if difference.count > 0 else []
    if newest and passed_of(stored.key for stored in newest) == difference:
        return newest
    if difference.count == 1:
        # Whatever its store says of when it came.
        return next(([stored] for stored in arrived if _digest(stored.key) == difference.digest), None)
    return None
