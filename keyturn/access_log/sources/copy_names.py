"""The hub secrets of copies in stores."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from keyturn.core.ports.access_source import StoreCopies

RENEWED: Final = 2.0
"""Seconds after which the catalogue's copies are read again."""


class CopyPlace(NamedTuple):
    """A copy's store and the path of its secret in the hub."""

    system: str
    path: str


class CopyNames:
    """Finds copies by their names in logs.

    Undeclared ones get a path that no secret has: store (or ``cloud``), colon and name there.
    """

    def __init__(self, stores: Callable[[], Sequence[StoreCopies]], cloud: str) -> None:
        self._declared = stores
        self._cloud = cloud
        self._stores: Sequence[StoreCopies] = ()
        self._renew_at = 0.0

    def find(self, fits: Callable[[tuple[str, ...]], int], *names: str) -> CopyPlace:
        """Return the copy with one of these names, likeliest first, in the best matching store.

        ``fits`` rates a store's system, 0 for none.
        """
        stores = sorted(filter(lambda store: fits(store.system), self._all()), key=lambda store: -fits(store.system))
        for name in names:
            for store in stores:
                if path := store.paths.get(name):
                    return CopyPlace(store.name, path)
        system = stores[0].name if stores else self._cloud
        return CopyPlace(system, f"{system}:{names[0]}")

    def _all(self) -> Sequence[StoreCopies]:
        if time.monotonic() >= self._renew_at:
            self._stores = self._declared()
            self._renew_at = time.monotonic() + RENEWED
        return self._stores
