"""Sources of secrets: the hub, and copies in any store."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from keyturn.client.bulk import BulkReader
from keyturn.client.secrets import NotServed, Secret
from keyturn.core.errors import Denied, Invalid, NotFound
from keyturn.core.mounts import join, split
from keyturn.core.ports.engines import Lessor
from keyturn.core.ports.hub import EXPIRES_AT, HubSecret, SecretsPort, metadata_moment
from keyturn.core.ports.stores import RemoteSecret, Store
from keyturn.core.sensitive import SecretFields, Sensitive

THREADS: Final = 8
"""Copies that are described concurrently."""

Now = Callable[[], datetime]


class ReadableHub(SecretsPort, BulkReader[HubSecret], Lessor, Protocol):
    """The hub's adapter, which reads secrets and issues leases."""


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def spelled(path: str) -> str:
    """The one name of a secret, without the slashes that the hub ignores."""
    mount, within = split(path)
    return join(mount, "/".join(part for part in within.split("/") if part))


class HubSource:
    """Reads the hub, where a secret's name is its path."""

    def __init__(self, hub: ReadableHub, name: str = "hub", now: Now = utc_now) -> None:
        self.name = name
        self._hub = hub
        self._now = now

    @property
    def lessor(self) -> Lessor:
        """The port that issues leases."""
        return self._hub

    def read(self, path: str) -> Secret:
        """The newest version. Raises NotFound, and Invalid for a name with such slashes."""
        if path != (name := spelled(path)):
            problem = "the hub takes it for another name, by which notices and policies know the secret"
            raise Invalid("read", path, problem, f"Write {name}")
        secret = self._hub.read(path)
        if secret is None:
            raise NotFound(
                "read", f"{self.name}:{path}", "there is no such secret", "Check its name, or write it there"
            )
        return self._of(path, secret)

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        """The newest versions, read concurrently."""
        read = self._hub.read_many([path for path in paths if path == spelled(path)])
        return {path: self._of(path, secret) for path, secret in read.items()}

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Their newest version numbers, without deleted versions.

        A login without a right to metadata reads the values instead.
        """
        try:
            infos = self._hub.describe_many(paths)
        except Denied:
            return dict(self._read_versions(paths))
        return {path: str(info.version) for path, info in infos.items() if info.served}

    def below(self, folder: str, /) -> Sequence[str]:
        """The paths of all secrets served below a folder, such as ``ml-training``."""
        return [info.path for info in self._hub.describe_below(folder) if info.served]

    def _read_versions(self, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
        for path in paths:
            with suppress(Denied):
                if secret := self._hub.read(path):
                    yield path, str(secret.version)

    def _of(self, path: str, secret: HubSecret) -> Secret:
        expires_at = metadata_moment(path, EXPIRES_AT, secret.custom.get(EXPIRES_AT, ""))
        version = secret.version
        return Secret(path, secret.fields, version, str(version), self.name, self._now(), secret.made_at, expires_at)


class StoreSource:
    """Reads copies of secrets in a store; ``names`` maps a path to a different name there.

    As a function, it raises NotServed for a secret without a copy there.
    """

    def __init__(
        self, store: Store, names: Mapping[str, str] | Callable[[str], str] | None = None, now: Now = utc_now
    ) -> None:
        self.name = store.name
        self._store = store
        self._named = names if callable(names) else partial(_named, dict(names or {}))
        self._now = now

    def read(self, path: str) -> Secret:
        """The copy as it is served now.

        It is described before and after the read, so that its marks belong to this very value. Raises NotFound.
        """
        remote = self._named(path)
        before = self._described(remote)
        text = self._store.read(remote)
        return self._of(path, text, before, self._described(remote))

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        """Read many in the same way, without absent ones."""
        remotes = {remote: path for path, remote in self._served(paths)}
        before = self._describe_many([*remotes])
        texts = self._store.read_many([*before])
        after = self._describe_many([*texts])
        return {
            remotes[remote]: self._of(remotes[remote], text, before[remote], after.get(remote))
            for remote, text in texts.items()
        }

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        """The store's version ids of these secrets."""
        remotes = {remote: path for path, remote in self._served(paths)}
        described = self._describe_many([*remotes])
        return {remotes[name]: remote.version_id for name, remote in described.items() if remote.intact}

    def _served(self, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
        for path in paths:
            with suppress(NotServed):
                yield path, self._named(path)

    def _describe_many(self, remotes: Sequence[str]) -> dict[str, RemoteSecret]:
        """Describe existing copies; listing would require a right to all secrets."""
        with ThreadPoolExecutor(THREADS) as pool:
            described = zip(remotes, pool.map(self._store.describe, remotes), strict=True)
            return {remote: copy for remote, copy in described if copy}

    def _described(self, remote: str) -> RemoteSecret:
        described = self._store.describe(remote)
        if described is None:
            raise NotFound(
                "read", f"{self.name}:{remote}", "there is no such secret", "Check its name, or sync it there"
            )
        return described

    def _of(self, path: str, text: Sensitive, before: RemoteSecret, after: RemoteSecret | None) -> Secret:
        settled = after is not None and after.version_id == before.version_id and after.marks == before.marks
        marks = before.marks if settled and before.intact and not before.outdated else None
        of_path = marks if marks and marks.source == path else None
        return Secret(
            path,
            fields_of(text),
            of_path.version if of_path else None,
            before.version_id if settled else "",
            self.name,
            self._now(),
            of_path.created_at if of_path else None,
        )


def _named(names: Mapping[str, str], path: str) -> str:
    return names.get(path, path)


def fields_of(text: Sensitive) -> SecretFields:
    """The fields of a JSON object; any other text is the field ``value``."""
    try:
        fields = json.loads(text.reveal())
    except (ValueError, RecursionError):
        fields = None
    return SecretFields(fields if isinstance(fields, dict) else {"value": text})
