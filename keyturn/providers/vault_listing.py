"""What a KV v2 mount tells of all its secrets, without values, in as few requests as the server allows.

OpenBao lists names together with their metadata (LIST detailed-metadata, a page at a time). Vault has no such
path, and answers 404 to it, or 403 where no policy names it: there every secret's metadata is read by itself, side
by side. Source: "KV secrets engine version 2 (API)" of OpenBao and of Vault.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from keyturn.core.errors import Denied
from keyturn.providers.vault_calls import Calls

PAGE: Final = 1000
"""Entries in one answer: few requests, and an answer of about half a megabyte."""

THREADS: Final = 8
"""Metadata reads that are under way at once, where the server has no listing that tells it."""

Described = tuple[str, Mapping[str, Any]]
"""A secret's path in its mount, and the metadata that the server keeps of it, as it tells it."""


class VaultListing:
    """The secrets of one mount. ``name`` stands in errors; which way the server lists is found out once."""

    def __init__(self, calls: Calls, mount: str, name: str) -> None:
        self._calls = calls
        self._mount = mount
        self._name = name
        self._tells_metadata = True

    def below(self, prefix: str = "") -> Iterator[Described]:
        """Every secret below ``prefix``, in its folders too; nothing there is no error. Raises Denied."""
        folders = [f"{prefix.strip('/')}/" if prefix.strip("/") else ""]
        while folders:
            folder = folders.pop()
            for path, told in self._entries(folder):
                if path.endswith("/"):
                    folders.append(path)
                elif told is not None:
                    yield path, told

    def _entries(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """What stands directly in a folder; folders themselves end with a slash and tell nothing."""
        page = self._page(folder, "") if self._tells_metadata else None
        if page is None:
            yield from self._one_by_one(folder)
        while page is not None:
            names, known = page["keys"], page.get("key_info") or {}
            for name in names:
                # Deleted since the names were taken: the server leaves it without metadata.
                yield folder + name, None if name.endswith("/") else known.get(name)
            page = self._page(folder, names[-1]) if len(names) >= PAGE else None

    def _page(self, folder: str, after: str) -> dict[str, Any] | None:
        """One page of names with their metadata; None where there is none, or this way is closed."""
        asked = {"list": "true", "limit": PAGE, **({"after": after} if after else {})}
        try:
            answer = self._calls.find("list", self._name, f"{self._mount}/detailed-metadata/{folder}", asked)
        except Denied:
            if after:
                raise
            return None  # what has no right to the names either is denied there
        return None if answer is None else dict(answer.json()["data"])

    def _one_by_one(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        names = self._calls.list(self._name, f"{self._mount}/metadata/{folder}")
        if names:
            # An empty folder looks the same either way; this one is not, so the server has no listing that tells more.
            self._tells_metadata = False
        paths = [folder + name for name in names]
        with ThreadPoolExecutor(THREADS) as pool:
            yield from zip(paths, pool.map(self._read, paths), strict=True)

    def _read(self, path: str) -> Mapping[str, Any] | None:
        if path.endswith("/"):
            return None
        answer = self._calls.find("list", self._name, f"{self._mount}/metadata/{path}")
        return None if answer is None else dict(answer.json()["data"])


def describe_below(calls: Calls, mount: str, prefix: str = "") -> Iterator[Described]:
    """Every secret below ``prefix`` of a mount with its metadata, listed once."""
    return VaultListing(calls, mount, f"{mount}/{prefix}").below(prefix)
