"""Find unmanaged secrets and left-over copies in the stores and the hub."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from keyturn.catalogue.destinations import FieldPattern
from keyturn.catalogue.spreading import plain_places
from keyturn.core.errors import Denied, KeyturnError
from keyturn.core.ports.hub import SecretInfo, Survey
from keyturn.core.ports.merged_keys import sharing
from keyturn.core.ports.stores import MANAGED_BY, TAG_MANAGED_BY, RemoteSecret
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.copy_parts import parts_in
from keyturn.settings.stores import StoreBase, System
from keyturn.sync import observe
from keyturn.sync.plan import known
from keyturn.sync.spread import spread_by_fields


@dataclass(frozen=True)
class Undeclared:
    """An undeclared copy with Keyturn's marks, and its source."""

    name: str
    source: str
    version: int


@dataclass(frozen=True)
class StoreScan:
    """One store, in names only. ``error`` and ``kind`` are empty if it was read."""

    store: str
    unmanaged: tuple[str, ...] = ()
    undeclared: tuple[Undeclared, ...] = ()
    error: str = ""
    kind: str = ""


@dataclass(frozen=True)
class HubScan:
    """The hub's paths that neither an entry of the catalogue nor a sync's pattern covers.

    ``error`` and ``kind`` are empty if all mounts could be listed.
    """

    unmanaged: tuple[str, ...] = ()
    error: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Scan:
    """The result of a scan. ``hub`` is None if only stores were chosen."""

    stores: tuple[StoreScan, ...]
    hub: HubScan | None = None


def scan_stores(workspace: Workspace, stores: Sequence[str] = ()) -> Scan:
    """Find what is unmanaged in these stores, or in all and the hub. One failure stops no other.

    Raises NotFound for an undeclared store. Nothing is written. Values are read only for the field names of patterns.
    """
    named = {store for name in stores for store in workspace.catalogue.members(name)}
    chosen = sorted(named or workspace.catalogue.stores)
    try:
        secrets = observe.hub_secrets(workspace, None)
    except Denied as error:
        return unlisted(workspace, chosen, None if stores else HubScan((), str(error), type(error).__name__), error)
    paths = known(workspace, secrets)
    declared = pushed_names(workspace, paths, secrets)
    scans = [
        known_only(answer, secrets)
        for answer in side_by_side(lambda store: one_store(workspace, store, declared), chosen)
    ]
    return Scan(tuple(scans), None if stores else hub_scan(secrets, paths))


def known_only(scanned: StoreScan, secrets: Survey) -> StoreScan:
    """The scan without copies from unreadable mounts."""
    return replace(scanned, undeclared=tuple(copy for copy in scanned.undeclared if not secrets.error(copy.source)))


def hub_scan(secrets: Survey, managed: Collection[str]) -> HubScan:
    """The hub, as far as its mounts could be read."""
    errors = list(secrets.unread.values())
    failure = ("; ".join(map(str, errors)), type(errors[0]).__name__) if errors else ("", "")
    return HubScan(nobodys(secrets, managed), *failure)


def unlisted(workspace: Workspace, chosen: Sequence[str], hub: HubScan | None, error: Denied) -> Scan:
    """The scan if the hub can't be listed."""
    if workspace.catalogue.syncs:
        why = f"it is unknown which copies are the catalogue's: {error}"
        return Scan(tuple(StoreScan(store, error=why, kind=type(error).__name__) for store in chosen), hub)
    declared = pushed_names(workspace, workspace.catalogue.secrets, Survey())
    return Scan(tuple(side_by_side(lambda store: one_store(workspace, store, declared), chosen)), hub)


def nobodys(secrets: Mapping[str, SecretInfo], managed: Collection[str]) -> tuple[str, ...]:
    """The hub's paths that are not ``managed``, without copies."""
    mine = frozenset(managed)
    unmarked = (path for path, info in secrets.items() if info.custom.get(TAG_MANAGED_BY) != MANAGED_BY)
    return tuple(sorted(path for path in unmarked if path not in mine))


@dataclass(frozen=True)
class DeclaredNames:
    """The names that secrets are pushed to, by system, which several stores may share.

    ``patterns`` belong to secrets with unknown fields: any matching name may be a copy.
    """

    names: Mapping[System, frozenset[str]]
    patterns: Mapping[System, tuple[FieldPattern, ...]]

    def has(self, settings: StoreBase, name: str) -> bool:
        """Whether a secret is, or may be, pushed to that name."""
        listed = settings.limits.same(name) in self.names.get(settings.system, ())
        return listed or any(pattern.owns(name) for pattern in self.patterns.get(settings.system, ()))


def declared_names(workspace: Workspace) -> DeclaredNames:
    """Every name that the catalogue pushes to."""
    secrets = observe.hub_secrets(workspace, None)
    return pushed_names(workspace, known(workspace, secrets), secrets)


def pushed_names(workspace: Workspace, paths: Iterable[str], secrets: Survey) -> DeclaredNames:
    """The names that these secrets are pushed to."""
    by_system: dict[System, set[str]] = defaultdict(set)
    patterns: dict[System, tuple[FieldPattern, ...]] = defaultdict(tuple)
    spread = spread_by_fields(workspace, {path: workspace.catalogue.destinations(path) for path in paths}, secrets)
    for place in (place for places in spread.places.values() for place in places):
        store = workspace.catalogue.store(place.store)
        by_system[store.system].add(store.limits.same(place.name))
    for pattern in (pattern for path in (*spread.unknown, *spread.absent) for pattern in spread.patterns[path]):
        patterns[workspace.catalogue.store(pattern.store).system] += (pattern,)
    return DeclaredNames({system: frozenset(names) for system, names in by_system.items()}, patterns)


def one_store(workspace: Workspace, store: str, declared: DeclaredNames) -> StoreScan:
    """Scan one store, with any error."""
    try:
        others = undeclared_copies(workspace, store, declared)
        parts = undeclared_parts(workspace, store)
    except KeyturnError as error:
        return StoreScan(store, error=str(error), kind=type(error).__name__)
    unmanaged = sorted(copy.name for copy in others if copy.marks is None)
    left = [Undeclared(copy.name, copy.marks.source, copy.marks.version) for copy in (*others, *parts) if copy.marks]
    return StoreScan(store, tuple(unmanaged), tuple(sorted(left, key=lambda copy: copy.name)))


def undeclared_copies(workspace: Workspace, store: str, declared: DeclaredNames) -> list[RemoteSecret]:
    """A store's secrets under undeclared names. Raises the store's errors."""
    settings = workspace.catalogue.store(store)
    return [copy for copy in workspace.open_store(store).list_all() if not declared.has(settings, copy.name)]


def undeclared_parts(workspace: Workspace, store: str) -> list[RemoteSecret]:
    """Undeclared copies in keys of other owners' secrets."""
    settings, shares = workspace.catalogue.store(store), sharing(workspace.open_store(store))
    copies = []
    for name, note in parts_in(shares) if shares else ():
        places = [place for place in plain_places(workspace.catalogue, note.marks.source) if place.merge]
        there = [place.name for place in places if workspace.catalogue.store(place.store).system == settings.system]
        if settings.limits.same(name) not in map(settings.limits.same, there):
            copies.append(RemoteSecret(f"{name} ({', '.join(note.keys)})", "", note.marks))
    return copies
