"""The metadata of all secrets in a KV v2 mount, without values, in few requests.

OpenBao lists names with their metadata (LIST detailed-metadata). Vault answers 404 to that path, or 403 without a
policy for it; there each secret is read. Source: "KV secrets engine version 2 (API)" of OpenBao and of Vault.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from keyturn.core.errors import Denied, Unavailable
from keyturn.providers.pages import HINT, PageGuard
from keyturn.providers.vault.client import Calls

PAGE: Final = 1000
"""About half a megabyte."""

THREADS: Final = 8

FEW: Final = 3

SPARE: Final = 5

MOST_FOLDERS: Final = 200_000
DEEPEST: Final = 100

Described = tuple[str, Mapping[str, Any]]
T = TypeVar("T")


class VaultListing:
    """The secrets of one mount. ``name`` appears in errors."""

    def __init__(self, calls: Calls, mount: str, name: str) -> None:
        self._calls = calls
        self._mount = mount
        self._name = name
        self._tells_metadata = True

    def below(self, prefix: str = "") -> Iterator[Described]:
        folders = [f"{prefix.strip('/')}/" if prefix.strip("/") else ""]
        guard = PageGuard("list", self._name, MOST_FOLDERS)
        while folders:
            folder = self._enter(guard, folders.pop())
            for path, metadata in self._entries(folder):
                if path.endswith("/"):
                    folders.append(path)
                elif metadata is not None:
                    yield path, metadata

    def metadata_below(self, prefix: str, facts: Callable[[Mapping[str, Any]], T | None]) -> dict[str, T] | None:
        """The ``facts`` of the metadata of everything below ``prefix``, by the path within it; without their Nones.

        None if a listing has no metadata: an unlisted entry must not count as absent. Metadata is kept for a page only.
        """
        begin, folders, entries = f"{prefix.strip('/')}/", [""], dict[str, T]()
        guard = PageGuard("list", self._name, MOST_FOLDERS)
        with ThreadPoolExecutor(THREADS) as pool:
            while folders:
                folders = [self._enter(guard, folder) for folder in folders]
                pages = list(pool.map(lambda folder: self._pages(begin + folder, facts), folders))
                if None in pages:
                    return None
                listed = [(folder, *entry) for folder, page in zip(folders, pages, strict=True) for entry in page or ()]
                folders = [folder + name for folder, name, _ in listed if name.endswith("/")]
                entries.update((folder + name, fact) for folder, name, fact in listed if fact is not None)
        return entries

    def _enter(self, guard: PageGuard, folder: str) -> str:
        if folder.count("/") > DEEPEST:
            raise Unavailable("list", self._name, f"its folders are more than {DEEPEST} deep", HINT)
        return guard.follow(folder)

    def _pages(self, folder: str, facts: Callable[[Mapping[str, Any]], T]) -> list[tuple[str, T | None]] | None:
        page = self._page(folder, "")
        if page is None:
            return None
        return [(name, None if metadata is None else facts(metadata)) for name, metadata in self._from(folder, page)]

    def of(self, paths: Collection[str]) -> Iterator[Described]:
        """Only these secrets, without absent ones. Raises Denied."""
        unknown = []
        for folder, names in _by_folder(paths).items():
            neighbours = self._neighbours(folder, names)
            yield from ((folder + name, metadata) for name in names if (metadata := neighbours.get(name)))
            unknown += [folder + name for name in names if name not in neighbours]
        yield from self._read_all(unknown)

    def _neighbours(self, folder: str, names: Sequence[str]) -> Mapping[str, Mapping[str, Any] | None]:
        if len(names) <= FEW or not self._tells_metadata:
            return {}
        limit = len(names) + SPARE
        try:
            page = self._page(folder, names[0][:-1], limit)
        except Denied:
            return {}  # the listing of names reports a missing right
        if page is None:
            described = {
                path.removeprefix(folder): metadata for path, metadata in self._read_all([folder + n for n in names])
            }
            # Both servers answer alike for an empty folder; for this one, the server has no listing with metadata.
            self._tells_metadata = not described
            return {name: described.get(name) for name in names}
        there, metadata = page["keys"], page.get("key_info") or {}
        return {name: metadata.get(name) for name in names if len(there) < limit or name <= there[-1]}

    def _read_all(self, paths: Sequence[str]) -> Iterator[Described]:
        with ThreadPoolExecutor(THREADS) as pool:
            for path, metadata in zip(paths, pool.map(self._read, paths), strict=True):
                if metadata is not None:
                    yield path, metadata

    def _entries(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        page = self._page(folder, "") if self._tells_metadata else None
        if page is None:
            yield from self._one_by_one(folder)
        else:
            yield from ((folder + name, metadata) for name, metadata in self._from(folder, page))

    def _from(self, folder: str, page: dict[str, Any] | None) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """The names on this page of a folder and the following ones; folders have no metadata."""
        guard = PageGuard("list", self._name)
        while page is not None:
            names, metadata = page["keys"], page.get("key_info") or {}
            for name in names:
                # The server gives no metadata for a name that was deleted meanwhile.
                yield name, None if name.endswith("/") else metadata.get(name)
            page = self._page(folder, guard.follow(names[-1])) if len(names) >= PAGE else None

    def _page(self, folder: str, after: str, limit: int = PAGE) -> dict[str, Any] | None:
        query = {"list": "true", "limit": limit, **({"after": after} if after else {})}
        try:
            return self._calls.data("list", self._name, f"{self._mount}/detailed-metadata/{folder}", query)
        except Denied:
            if after:
                raise
            return None  # the listing of names reports a missing right

    def _one_by_one(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        names = self._calls.list(self._name, f"{self._mount}/metadata/{folder}")
        if names:
            # Both servers answer alike for an empty folder; for this one, the server has no listing with metadata.
            self._tells_metadata = False
        paths = [folder + name for name in names]
        with ThreadPoolExecutor(THREADS) as pool:
            yield from zip(paths, pool.map(self._read, paths), strict=True)

    def _read(self, path: str) -> Mapping[str, Any] | None:
        if path.endswith("/"):
            return None
        return self._calls.data("list", self._name, f"{self._mount}/metadata/{path}")


def describe_below(calls: Calls, mount: str, prefix: str = "") -> Iterator[Described]:
    return VaultListing(calls, mount, f"{mount}/{prefix}").below(prefix)


def _by_folder(paths: Collection[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = defaultdict(list)
    for path in sorted(set(paths)):
        folder, slash, name = path.rpartition("/")
        folders[folder + slash].append(name)
    return folders
