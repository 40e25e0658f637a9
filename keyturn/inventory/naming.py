"""Whether a store's name speaks of a path of the hub, whatever signs the store has put in the place of others."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from keyturn.core.mounts import split
from keyturn.inventory.hub_inventory import PathSecret


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in small letters, cut at signs, and where a capital follows a small letter."""
    cut = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(word.casefold() for word in re.split(r"[^A-Za-z0-9]+", cut) if word)


def squeezed(words: Iterable[str]) -> str:
    """The words without anything between them."""
    return "".join(words)


def endings(words: Sequence[str]) -> Iterator[str]:
    """All of them, and the last ones from two on: folders before a name differ from store to store."""
    yield squeezed(words)
    yield from (squeezed(words[begin:]) for begin in range(1, len(words) - 1))


class Names:
    """Which secrets a name may speak of: of the whole, or of one of its fields."""

    def __init__(self, secrets: Iterable[PathSecret]) -> None:
        by_name: dict[str, set[str]] = defaultdict(set)
        for secret in secrets:
            words = words_of(split(secret.path)[1])
            for more in ((), *(words_of(field) for field in secret.held.fields)):
                for ending in endings((*words, *more)):
                    by_name[ending].add(secret.path)
        self._by_name: Mapping[str, set[str]] = by_name

    def paths(self, name: str) -> frozenset[str]:
        """The paths that a store's name agrees with: those that all of it speaks of before those that a part does."""
        words = words_of(name)
        for ending in endings(words) if words else ():
            if fitting := self._by_name.get(ending):
                return frozenset(fitting)
        return frozenset()
