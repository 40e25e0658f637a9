"""Limits for listings in pages: a faulty server could repeat pages for ever."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from keyturn.core.errors import Unavailable

MOST_PAGES: Final = 20_000
"""Half a million entries at 25, the smallest page of any store."""
HINT: Final = "Nothing was taken for the whole list; see who answers at its address"

Page = TypeVar("Page")


class PageGuard:
    """The page tokens of one listing, at most ``most``."""

    def __init__(self, doing: str, name: str, most: int | None = None) -> None:
        self._most = MOST_PAGES if most is None else most
        self._doing = doing
        self._name = name
        self._passed: set[bytes] = set()

    def follow(self, token: str) -> str:
        """Raises Unavailable for a repeated token, or too many."""
        digest = hashlib.sha256(token.encode()).digest()
        if digest in self._passed:
            raise Unavailable(self._doing, self._name, "its list leads back to a page that was there before", HINT)
        if len(self._passed) >= self._most:
            raise Unavailable(self._doing, self._name, f"its list does not end within {self._most} pages", HINT)
        self._passed.add(digest)
        return token


def bounded(pages: Iterable[Page], following: Callable[[Page], str | None], doing: str, name: str) -> Iterator[Page]:
    """Raises Unavailable."""
    guard = PageGuard(doing, name)
    for page in pages:
        yield page
        if token := following(page):
            guard.follow(token)
