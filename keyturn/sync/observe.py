"""The current contents of the stores and the hub, from listings where sufficient."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Final

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import KeyturnError, TerminalError, unexpected
from keyturn.core.ports.hub import SecretInfo, Survey, survey
from keyturn.core.ports.merged_keys import Note
from keyturn.core.ports.stores import RemoteSecret
from keyturn.core.store_limits import Limits
from keyturn.rotation.copies.labels import asks, describe_copies
from keyturn.rotation.state.context import Workspace, side_by_side

FEW: Final = 50
"""Maximum secrets that are read separately instead of listed."""

AT_ONCE: Final = 16


@dataclass
class Holdings:
    """The contents of one store, by name.

    ``error`` explains why it could not be read, ``untold`` why the details could not.
    """

    limits: Limits
    copies: dict[str, RemoteSecret] = field(default_factory=dict)
    error: KeyturnError | None = None
    untold: KeyturnError | None = None
    parts: dict[tuple[str, str], RemoteSecret] = field(default_factory=dict)
    """The keys merged into secrets of other owners, by hub path and name."""
    refused: dict[tuple[str, str], KeyturnError] = field(default_factory=dict)
    """The errors for copies that could not be read; those of whole copies have no path."""
    left: list[tuple[str, Note]] = field(default_factory=list)
    """The notes on all merged copies."""

    def part(self, path: str, name: str) -> RemoteSecret | None:
        """The merged copy of the secret at ``path``."""
        return self.parts.get((path, self.limits.same(name)))

    def of(self, path: str, place: Destination) -> RemoteSecret | None:
        """The copy at a destination, whole or merged."""
        return self.part(path, place.name) if place.merge else self.copy(place.name)

    def failure(self, path: str, place: Destination) -> KeyturnError | None:
        """The error that hides the copy at a destination."""
        return self.error or self.refused.get((path if place.merge else "", self.limits.same(place.name)))

    def copy(self, name: str) -> RemoteSecret | None:
        """The copy of that name."""
        return self.copies.get(self.limits.same(name))

    def take(self, copies: Iterable[RemoteSecret]) -> None:
        """Add these copies."""
        for copy in copies:
            self.copies[self.limits.same(copy.name)] = copy


def hub_secrets(workspace: Workspace, paths: Iterable[str] | None) -> Survey:
    """The hub's metadata of these secrets, or of all, without missing ones.

    An unreadable mount of several is recorded. Raises if nothing can be read.
    """
    if paths is None:
        return survey(workspace.hub)
    ordered = sorted(paths)
    described = side_by_side(lambda path: _described(workspace, path), ordered, AT_ONCE)
    answers = dict(zip(ordered, described, strict=True))
    refused = {path: answer for path, answer in answers.items() if isinstance(answer, KeyturnError)}
    if refused and (len(refused) == len(answers) or not workspace.hub.mounts):
        raise next(iter(refused.values()))
    return Survey({path: answer for path, answer in answers.items() if isinstance(answer, SecretInfo)}, refused=refused)


def _described(workspace: Workspace, path: str) -> SecretInfo | KeyturnError | None:
    """The metadata of one secret, or any error."""
    try:
        return workspace.hub.describe(path)
    except KeyturnError as error:
        return error


Placements = list[tuple[str, Destination]]
"""Hub paths, each with the destination of a copy."""


Listings = Mapping[str, "Future[list[RemoteSecret]]"]
"""Running listings by store."""


@contextmanager
def begun_listings(workspace: Workspace, names: Iterable[str]) -> Iterator[Listings]:
    """List the managed copies of these stores while the hub is queried."""
    pool = ThreadPoolExecutor(thread_name_prefix="listing", max_workers=AT_ONCE)

    def begin(name: str) -> "Future[list[RemoteSecret]]":
        return pool.submit(copy_context().run, lambda: list(workspace.open_store(name).list_managed()))

    try:
        yield {name: begin(name) for name in names}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # don't wait for the stores if the hub fails


def stores(
    workspace: Workspace, wanted: Mapping[str, Placements], listings: Listings, *, listed: bool, deep: bool
) -> dict[str, Holdings]:
    """The contents of each store under the wanted names, and with ``listed`` all other managed copies.

    One unreadable store stops no other. ``deep`` reads each copy, which reveals changes that listings hide.
    """

    def look(store: str) -> Holdings:
        holdings = Holdings(workspace.catalogue.store(store).limits)
        try:
            names = [place.name for _, place in wanted[store] if not place.merge]
            if listed or names:
                if listed:
                    holdings.take(
                        listings[store].result() if store in listings else workspace.open_store(store).list_managed()
                    )
                _fill(workspace, store, names, holdings, deep=deep)
            _describe(workspace, store, [place for _, place in wanted[store] if not place.merge], holdings, deep=deep)
            _look_at_parts(workspace, [want for want in wanted[store] if want[1].merge], holdings)
        except KeyturnError as error:
            holdings.error = error
        except Exception as error:  # noqa: BLE001  what one store suffers from stops no other
            holdings.error = unexpected(error)
        return holdings

    names = sorted(wanted)
    return dict(zip(names, side_by_side(look, names), strict=True))


def _look_at_parts(workspace: Workspace, wanted: Placements, holdings: Holdings) -> None:
    """Read each merged copy with its value, since listings don't show changed keys."""

    def look(placement: tuple[str, Destination]) -> RemoteSecret | KeyturnError | None:
        path, place = placement
        try:
            return workspace.open_copy(path, place).describe(place.name)
        except KeyturnError as error:
            return error

    legal = [placement for placement in wanted if not holdings.limits.refuses_name(placement[1].name)]
    for (path, place), answer in zip(legal, side_by_side(look, legal, AT_ONCE), strict=True):
        key = path, holdings.limits.same(place.name)
        if isinstance(answer, KeyturnError):
            holdings.refused[key] = answer
        elif answer is not None:
            holdings.parts[key] = answer


def _fill(workspace: Workspace, store: str, names: list[str], holdings: Holdings, *, deep: bool) -> None:
    """Read the names that the listing lacks, or all if ``deep``."""
    adapter = workspace.open_store(store)
    legal = [name for name in names if not holdings.limits.refuses_name(name)]
    missing = legal if deep else [name for name in legal if holdings.copy(name) is None]
    if len(missing) > FEW and not deep:
        # One listing of names costs less than reading each. It includes unmanaged secrets.
        everything = Holdings(holdings.limits)
        everything.take(adapter.list_all())
        missing = [name for name in missing if everything.copy(name)]

    def find(name: str) -> RemoteSecret | TerminalError | None:
        try:
            return adapter.describe(name)
        except TerminalError as error:  # a right that one copy lacks; a store that is down raises
            return error

    answers = dict(zip(missing, side_by_side(find, missing, AT_ONCE), strict=True))
    holdings.take(copy for copy in answers.values() if isinstance(copy, RemoteSecret))
    refused = {name: answer for name, answer in answers.items() if isinstance(answer, TerminalError)}
    holdings.refused |= {("", holdings.limits.same(name)): error for name, error in refused.items()}


def _describe(workspace: Workspace, store: str, places: list[Destination], holdings: Holdings, *, deep: bool) -> None:
    """Read the missing details of copies where the catalogue requires them.

    ``deep`` reads those of all managed copies.
    """
    copies = ((place, copy) for place in places if (copy := holdings.copy(place.name)) and copy.details is None)
    undescribed = [copy for place, copy in copies if asks(workspace, place, copy) or (deep and copy.marks)]
    try:
        holdings.take(describe_copies(workspace, store, undescribed) if undescribed else ())
    except KeyturnError as error:
        holdings.untold = error
