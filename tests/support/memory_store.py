"""A store in memory, for tests whose subject is something else. It passes the store's contract."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyturn.core.errors import Invalid, NotFound
from keyturn.core.names import AWS_SECRETS_MANAGER, illegal_name, too_large
from keyturn.core.sensitive import Sensitive
from keyturn.core.stores import Copy, Lack, Marks


@dataclass
class Kept:
    """One remote secret: every value it ever served, and what was known of it at the last write."""

    values: list[Sensitive]
    marks: Marks | None
    written: int = 0

    def copy(self, name: str) -> Copy:
        """As the port describes it."""
        return Copy(name, str(len(self.values)), self.marks, intact=self.written == len(self.values))


class MemoryStore:
    """A :class:`keyturn.core.stores.Store` with the names and sizes of ``kind``.

    ``down`` is raised from every call while it is set, ``refuses`` from writes; ``writes`` counts new versions.
    """

    lacks: frozenset[Lack] = frozenset()

    def __init__(self, name: str, kind: str = AWS_SECRETS_MANAGER) -> None:
        self.name = name
        self.kind = kind
        self.down: Exception | None = None
        self.refuses: Exception | None = None
        self.writes = 0
        self._secrets: dict[str, Kept] = {}
        self._lock = threading.Lock()

    def find(self, remote: str) -> Copy | None:
        """Describe one secret."""
        with self._open() as secrets:
            return secrets[remote].copy(remote) if remote in secrets else None

    def managed(self) -> Iterator[Copy]:
        """Every secret with marks."""
        with self._open() as secrets:
            copies = [kept.copy(name) for name, kept in secrets.items() if kept.marks]
        yield from copies

    def everything(self) -> Iterator[Copy]:
        """Every secret."""
        with self._open() as secrets:
            copies = [kept.copy(name) for name, kept in secrets.items()]
        yield from copies

    def write(
        self, remote: str, value: Sensitive, marks: Marks, found: Copy | None, *, expires_at: datetime | None = None
    ) -> Copy:
        """A new version, unless the same one is served under the same marks."""
        if flaw := illegal_name(self.kind, remote) or too_large(self.kind, len(value.reveal().encode())):
            raise Invalid("write", f"{self.name}:{remote}", flaw)
        if not value:
            raise Invalid("write", f"{self.name}:{remote}", "the value is empty")
        if self.refuses:
            raise self.refuses
        with self._open() as secrets:
            kept = secrets.setdefault(remote, Kept([], None))
            if kept.copy(remote).intact and kept.marks == marks:
                return kept.copy(remote)
            kept.values.append(value)
            kept.marks, kept.written = marks, len(kept.values)
            self.writes += 1
            return kept.copy(remote)

    def read(self, remote: str) -> Sensitive:
        """The value served now."""
        with self._open() as secrets:
            if remote not in secrets:
                raise NotFound("read", f"{self.name}:{remote}", "there is none")
            return secrets[remote].values[-1]

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """Those that are there."""
        with self._open() as secrets:
            return {remote: secrets[remote].values[-1] for remote in remotes if remote in secrets}

    def delete(self, remote: str) -> None:
        """Remove it for good."""
        with self._open() as secrets:
            secrets.pop(remote, None)

    def close(self) -> None:
        """Nothing is held."""

    def put_by_hand(self, remote: str, value: str) -> None:
        """What somebody does who has never heard of Keyturn."""
        with self._lock:
            self._secrets.setdefault(remote, Kept([], None)).values.append(Sensitive(value))

    def strip(self, remote: str) -> None:
        """Remove the marks, as somebody does who tidies up tags."""
        with self._lock:
            self._secrets[remote].marks = None

    def _open(self) -> "Opened":
        return Opened(self)


class Opened:
    """The secrets, under the lock, unless the store is down."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __enter__(self) -> dict[str, Kept]:
        if self._store.down:
            raise self._store.down
        self._store._lock.acquire()
        return self._store._secrets

    def __exit__(self, *_: object) -> None:
        self._store._lock.release()
