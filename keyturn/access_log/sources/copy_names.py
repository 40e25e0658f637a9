"""Which secret of the hub a copy in a store is of."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from keyturn.core.ports.access_source import StoreCopies

RENEWED: Final = 2.0
"""Seconds after which the catalogue's copies are asked for again: it may declare more."""


class CopyPlace(NamedTuple):
    """Where a copy was read: the store's name, and its secret's path in the hub."""

    system: str
    path: str


class CopyNames:
    """Looks up copies by the names that they have in logs.

    What the catalogue does not declare gets a path that no secret of the hub has: the store's name, a colon, and its
    name there; ``cloud`` stands for a store that is not declared at all.
    """

    def __init__(self, stores: Callable[[], Sequence[StoreCopies]], cloud: str) -> None:
        self._declared = stores
        self._cloud = cloud
        self._stores: Sequence[StoreCopies] = ()
        self._renew_at = 0.0

    def find(self, fits: Callable[[tuple[str, ...]], int], *names: str) -> CopyPlace:
        """The copy that has one of these names, the likeliest first, in the store whose system fits best.

        ``fits`` says how well, and 0 of one that can't be it.
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
