"""Similar principals, what they share, and what is usual in a system."""

import re
from functools import lru_cache
from itertools import islice
from math import inf
from typing import Final

from keyturn.access_log.detection.bounds import Key, drop_least
from keyturn.access_log.detection.habits import DAY, LEARNED, folder_of
from keyturn.access_log.detection.identities import METHODS, is_person
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

REMEMBERED: Final = 100_000

SECRETS: Final = 200_000

READERS: Final = 300
FOLDERS: Final = 20_000
"""The most compared readers per folder, and folders."""

COLLEAGUES: Final = 2
"""The fewest readers in common folders that make them colleagues."""
SHARED: Final = 2
"""The fewest folders of a principal with colleagues."""

FEW: Final = 5
"""The fewest principals of a kind. Smaller ones are combined."""

PROGRAMS: Final = 4
"""A network belongs to programs if they are one in this many readers."""

SHARE: Final = 5
"""A folder is usual for a kind if one in this many reads there."""

TOGETHER: Final = DAY
"""Seconds within which a common novelty is one event, such as a deployment."""

MANY: Final = 20
"""Principals of a kind that allow comparing newcomers."""

WRAPPED: Final = "wrapping token of "
"""The hub log's prefix for readers of wrapped answers."""

DIGITS: Final = re.compile(r"[0-9a-f]*[0-9][0-9a-f]*")


@lru_cache(50_000)
def kind_of(principal: str) -> str:
    """The name without its numbers, otherwise the login method."""
    if principal.startswith(WRAPPED):
        return WRAPPED + kind_of(principal[len(WRAPPED) :])
    shape = DIGITS.sub("#", principal)
    method = METHODS.match(principal)
    return method[0] if method and shape == principal else shape


class FolderReaders:
    """Readers of folders, which show teams."""

    def __init__(self) -> None:
        self._readers: dict[tuple[str, str], dict[str, PrincipalWindow]] = {}

    def add(self, access: Access, window: PrincipalWindow) -> None:
        """Learn that a principal reads in a folder."""
        folder = (access.system, folder_of(access.path))
        readers = self._readers.setdefault(folder, {})
        readers[access.principal] = window
        if len(readers) > READERS:
            del readers[next(iter(readers))]
        if len(self._readers) > FOLDERS:
            del self._readers[next(iter(self._readers))]

    def are_colleagues(self, access: Access, at: float, window: PrincipalWindow) -> bool:
        """Whether several readers of a secret's folder share most of the principal's folders.

        Folders known for less than a day do not count.
        """
        own = {folder for folder, begun in window.folders.items() if begun <= at - DAY}
        readers = self._readers.get((access.system, folder_of(access.path)), {})
        alike = (
            name
            for name, reader in readers.items()
            if reader is not window and len(own & reader.folders.keys()) > len(own) // 2
        )
        return len(own) >= SHARED and len(list(islice(alike, COLLEAGUES))) == COLLEAGUES


class Peers:
    """What several principals of a system do, bounded. Not thread-safe."""

    def __init__(self) -> None:
        self._began = inf
        self._members: dict[tuple[str, str], int] = {}
        self._folders: dict[tuple[str, str, str], int] = {}
        self._networks: dict[tuple[str, bool, str], tuple[float, int]] = {}
        self._readers = FolderReaders()
        self._secrets: dict[tuple[str, str], None] = {}
        self._novelties: dict[tuple[str, str, str], tuple[float, str]] = {}

    def kind(self, access: Access) -> tuple[str, str]:
        """The system and kind of a principal, empty if too small."""
        kind = kind_of(access.principal)
        return (access.system, kind if self._members.get((access.system, kind), 0) >= FEW else "")

    def large(self, kind: tuple[str, str]) -> bool:
        """Whether a kind is large enough for newcomers."""
        return bool(kind[1]) and self._members.get(kind, 0) >= MANY

    def _join(self, access: Access) -> tuple[str, str]:
        for kind in ((access.system, ""), (access.system, kind_of(access.principal))):
            self._members[kind] = self._members.pop(kind, 0) + 1
        _bound(self._members)
        return self.kind(access)

    def learn(self, access: Access, at: float, window: PrincipalWindow) -> None:
        """Learn a new folder or network of a principal."""
        self._began = min(self._began, at)
        if (folder := folder_of(access.path)) not in window.folders:
            kind = self.kind(access) if window.folders else self._join(access)
            _count(self._folders, (*kind, folder))
            self._readers.add(access, window)
        self._secrets[access.system, access.path] = None
        if len(self._secrets) > SECRETS:
            del self._secrets[next(iter(self._secrets))]
        if access.source and (network := network_of(access.source)) not in window.networks:
            kin = (access.system, is_person(access.principal), network)
            begun, count = self._networks.get(kin, (at, 0))
            self._networks[kin] = (begun, count + 1)
            if len(self._networks) > REMEMBERED:
                drop_least(self._networks, REMEMBERED, lambda pair: pair[0])

    def usual_folder(self, access: Access, at: float, window: PrincipalWindow) -> bool:
        """Whether many of its kind, or colleagues, read there."""
        kind = self.kind(access)
        readers = self._folders.get((*kind, folder_of(access.path)), 0)
        if readers > 1 and readers * SHARE >= self._members.get(kind, 0):
            return True
        return not window.is_steady(access.principal, at) and self._readers.are_colleagues(access, at, window)

    def is_new_secret(self, access: Access) -> bool:
        """Whether a secret is new: its first version, without earlier readers."""
        return access.version == 1 and (access.system, access.path) not in self._secrets

    def usual_network(self, access: Access, at: float) -> bool:
        """Whether several principals of the same type have read from there for a day."""
        return self.comes_from(access, at, people=is_person(access.principal))

    def comes_from(self, access: Access, at: float, *, people: bool) -> bool:
        """Whether several people, or several programs, have read from there for a day."""
        network = network_of(access.source)
        begun, count = self._networks.get((access.system, people, network), (at, 0))
        _, persons = self._networks.get((access.system, True, network), (at, 0))
        return count > 1 and begun <= at - DAY and (people or count * PROGRAMS >= persons)

    def is_strange_network(self, access: Access, at: float) -> bool:
        """Whether no one has read from this network, once learned."""
        network = network_of(access.source)
        near = any((access.system, people, network) in self._networks for people in (True, False))
        return not near and at > self._began + LEARNED * DAY

    def shared(self, access: Access, at: float, what: str, kind: str = "") -> bool:
        """Whether it is also new to others of a kind, as one event."""
        novelty = (access.system, kind, what)
        moment, first = self._novelties.get(novelty, (NEVER, ""))
        if moment > at - TOGETHER:
            return first != access.principal
        self._novelties[novelty] = (at, access.principal)
        if len(self._novelties) > REMEMBERED:
            drop_least(self._novelties, REMEMBERED, lambda pair: pair[0])
        return False


def _count(counts: dict[tuple[str, str, str], int], key: tuple[str, str, str]) -> None:
    counts[key] = counts.pop(key, 0) + 1
    _bound(counts)


def _bound(counts: dict[Key, int]) -> None:
    if len(counts) > REMEMBERED:
        del counts[next(iter(counts))]
