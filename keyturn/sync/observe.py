"""What the stores and the hub hold now, told from listings wherever they tell enough."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import KeyturnError, unexpected
from keyturn.core.hub import SecretInfo, Survey, survey
from keyturn.core.names import Limits
from keyturn.core.stores import Copy
from keyturn.rotation.context import Keyturn, side_by_side
from keyturn.rotation.labels import asks, described

FEW: Final = 50
"""So many secrets are looked up one by one; for more, listings are read."""

AT_ONCE: Final = 16


@dataclass
class Holdings:
    """What one store holds, by name; ``error`` is why it could not be told, ``untold`` why what stands beside can't."""

    limits: Limits
    copies: dict[str, Copy] = field(default_factory=dict)
    error: KeyturnError | None = None
    untold: KeyturnError | None = None

    def copy(self, name: str) -> Copy | None:
        """The copy of that name."""
        return self.copies.get(self.limits.same(name))

    def take(self, copies: Iterable[Copy]) -> None:
        """Keep these."""
        for copy in copies:
            self.copies[self.limits.same(copy.name)] = copy


def hub_secrets(keyturn: Keyturn, paths: Iterable[str] | None) -> Survey:
    """The hub's own word on these secrets, or on all; those that it has not are left out.

    Of several mounts, one that can't be read is told in it. Raises where nothing can be read at all.
    """
    if paths is None:
        return survey(keyturn.hub)
    asked = sorted(paths)
    described = side_by_side(lambda path: _described(keyturn, path), asked, AT_ONCE)
    told = dict(zip(asked, described, strict=True))
    refused = {path: one for path, one in told.items() if isinstance(one, KeyturnError)}
    if refused and (len(refused) == len(told) or not keyturn.hub.mounts):
        raise next(iter(refused.values()))
    return Survey({path: one for path, one in told.items() if isinstance(one, SecretInfo)}, refused=refused)


def _described(keyturn: Keyturn, path: str) -> SecretInfo | KeyturnError | None:
    """One secret; an error is part of the answer."""
    try:
        return keyturn.hub.describe(path)
    except KeyturnError as error:
        return error


def stores(
    keyturn: Keyturn, wanted: Mapping[str, list[Destination]], *, listed: bool, deep: bool
) -> dict[str, Holdings]:
    """What each store holds under the wanted names; with ``listed``, everything else that is ours there too.

    A store that can't be read has its error, and stops no other. ``deep`` asks for each copy by itself, which shows
    changes that listings hide.
    """

    def look(store: str) -> Holdings:
        holdings = Holdings(keyturn.catalogue.store(store).limits)
        try:
            _fill(keyturn, store, [place.name for place in wanted[store]], holdings, listed=listed, deep=deep)
            _describe(keyturn, store, wanted[store], holdings)
        except KeyturnError as error:
            holdings.error = error
        except Exception as error:  # noqa: BLE001  what one store suffers from stops no other
            holdings.error = unexpected(error)
        return holdings

    names = sorted(wanted)
    return dict(zip(names, side_by_side(look, names), strict=True))


def _fill(keyturn: Keyturn, store: str, names: list[str], holdings: Holdings, *, listed: bool, deep: bool) -> None:
    adapter = keyturn.open_store(store)
    if listed:
        holdings.take(adapter.managed())
    legal = [name for name in names if not holdings.limits.refuses_name(name)]
    missing = legal if deep else [name for name in legal if holdings.copy(name) is None]
    if len(missing) > FEW and not deep:
        # One listing of names costs less than asking for each; those that are nobody's show in it.
        known = Holdings(holdings.limits)
        known.take(adapter.everything())
        missing = [name for name in missing if known.copy(name)]
    find: Callable[[str], Copy | None] = adapter.find
    holdings.take(copy for copy in side_by_side(find, missing, AT_ONCE) if copy)


def _describe(keyturn: Keyturn, store: str, places: list[Destination], holdings: Holdings) -> None:
    """Ask for what stands beside copies where the catalogue wants it known and no look has told it."""
    copies = ((place, holdings.copy(place.name)) for place in places)
    asked = [copy for place, copy in copies if copy and copy.details is None and asks(keyturn, place, copy)]
    try:
        holdings.take(described(keyturn, store, asked) if asked else ())
    except KeyturnError as error:
        holdings.untold = error
