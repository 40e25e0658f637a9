"""Old versions of a KV v2 mount's secrets.

A deleted version can be undeleted, so it counts as old until it is destroyed. Source: "KV secrets engine version 2
(API)" of Vault 1.12 and OpenBao 2.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from keyturn.core.ports.hub import VersionState
from keyturn.providers.vault.client import Calls

THREADS: Final = 8

MetadataReader = Callable[[str, str], Mapping[str, Any] | None]


class VaultOldVersions:
    def __init__(self, calls: Calls, mount: str, name: Callable[[str], str], metadata: MetadataReader) -> None:
        self._calls = calls
        self._mount = mount
        self._name = name
        self._metadata = metadata

    def readable(self, remote: str, doing: str) -> dict[int, Mapping[str, Any]]:
        metadata = self._metadata(remote, doing)
        numbers = [number for number, version in old_versions(metadata or {}) if is_readable(version)]
        with ThreadPoolExecutor(THREADS) as pool:
            versions = zip(numbers, pool.map(lambda number: self._read(remote, doing, number), numbers), strict=True)
            return {number: data for number, data in versions if data is not None}

    def destroy(self, remote: str, doing: str) -> None:
        metadata = self._metadata(remote, doing)
        if numbers := [number for number, version in old_versions(metadata or {}) if not version["destroyed"]]:
            path = f"{self._mount}/destroy/{remote}"
            self._calls.post(doing, self._name(remote), path, {"versions": numbers})

    def remove(self, remote: str, doing: str) -> None:
        self._calls.delete(doing, self._name(remote), f"{self._mount}/metadata/{remote}")

    def _read(self, remote: str, doing: str, number: int) -> Mapping[str, Any] | None:
        path = f"{self._mount}/data/{remote}"
        return self._calls.data(doing, self._name(remote), path, {"version": number})


def old_versions(metadata: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, version in (metadata.get("versions") or {}).items():
        if int(number) != metadata["current_version"] or not is_readable(version):
            yield int(number), version


def is_readable(version: Mapping[str, Any]) -> bool:
    return version_state(version) is VersionState.READABLE


def version_state(version: Mapping[str, Any]) -> VersionState:
    """A deletion in the future (``delete_version_after``) does not count yet."""
    if version["destroyed"]:
        return VersionState.DESTROYED
    ends = version["deletion_time"]
    deleted = bool(ends) and datetime.fromisoformat(ends) <= datetime.now(UTC)
    return VersionState.DELETED if deleted else VersionState.READABLE
