"""Match a store's names to paths of the hub, regardless of separators."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from keyturn.core.mounts import split
from keyturn.inventory.hub_inventory import PathSecret


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, split at separators and capitals."""
    cut = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(word.casefold() for word in re.split(r"[^A-Za-z0-9]+", cut) if word)


def squeezed(words: Iterable[str]) -> str:
    return "".join(words)


def endings(words: Sequence[str]) -> Iterator[str]:
    """Yield all words, and their endings of two or more: folders differ between stores."""
    yield squeezed(words)
    yield from (squeezed(words[begin:]) for begin in range(1, len(words) - 1))


class Names:
    def __init__(self, secrets: Iterable[PathSecret]) -> None:
        by_name: dict[str, set[str]] = defaultdict(set)
        for secret in secrets:
            words = words_of(split(secret.path)[1])
            for more in ((), *(words_of(field) for field in secret.held.fields)):
                for ending in endings((*words, *more)):
                    by_name[ending].add(secret.path)
        self._by_name: Mapping[str, set[str]] = by_name

    def paths(self, name: str) -> frozenset[str]:
        """Return the paths that match a store's name, by the longest ending that matches any."""
        words = words_of(name)
        for ending in endings(words) if words else ():
            if fitting := self._by_name.get(ending):
                return frozenset(fitting)
        return frozenset()
