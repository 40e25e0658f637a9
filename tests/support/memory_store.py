"""A store in memory, for tests whose subject is something else. It passes the store's contract."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from keyturn.core.errors import Conflict, Invalid, NotFound, Taken
from keyturn.core.ports.merged_keys import Change, Shared
from keyturn.core.ports.stores import NO_DETAILS, Details, OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import AWS_SECRETS_MANAGER, illegal_name, too_large
from keyturn.providers.sharing import checked_text, shared_text


@dataclass
class Kept:
    """One remote secret: every value that it can give by its number, and what was known of it at the last write."""

    values: list[Sensitive]
    marks: OwnershipTags | None
    written: int = 0
    forgotten: int = 0
    """How many of the first values are gone."""
    details: Details = NO_DETAILS
    notes: dict[str, str] = field(default_factory=dict)
    """Whose which keys are, where several have keys in it."""

    @property
    def past(self) -> dict[str, Sensitive]:
        """The values before the last that are still there, by their number."""
        numbered = enumerate(self.values[:-1], 1)
        return {str(number): value for number, value in numbered if number > self.forgotten}

    def forget(self) -> None:
        """Let the values before the last go."""
        self.forgotten = len(self.values) - 1
        self.values[:-1] = [Sensitive("")] * self.forgotten

    def lay(self, marks: OwnershipTags, details: Details) -> None:
        """Marks and details, over those that others have set."""
        self.details = details.laid_over(self.details, self.marks)
        self.marks = marks

    def copy(self, name: str) -> RemoteSecret:
        """As the port describes it."""
        intact = self.written == len(self.values)
        return RemoteSecret(name, str(len(self.values)), self.marks, intact, details=self.details)


class MemoryStore:
    """A :class:`keyturn.core.ports.stores.Store` with the names and sizes of ``kind``.

    ``down`` is raised from every call while it is set, ``refuses`` from writes; ``writes`` counts new versions, and
    ``labels`` what was laid beside a copy without one. While ``forgets`` is False, old values stay as in a service
    that can't remove them, and while ``erases`` is, a secret that was erased can still be restored.
    """

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(self, name: str, kind: str = AWS_SECRETS_MANAGER) -> None:
        self.name = name
        self.kind = kind
        self.down: Exception | None = None
        self.refuses: Exception | None = None
        self.forgets = True
        self.erases = True
        self.writes = 0
        self.labels = 0
        self._secrets: dict[str, Kept] = {}
        self._lock = threading.RLock()
        self.shared = SharedMemory(self)

    def describe(self, remote: str) -> RemoteSecret | None:
        """Describe one secret."""
        with self._open() as secrets:
            return secrets[remote].copy(remote) if remote in secrets else None

    def list_managed(self) -> Iterator[RemoteSecret]:
        """Every secret with marks."""
        with self._open() as secrets:
            copies = [kept.copy(name) for name, kept in secrets.items() if kept.marks]
        yield from copies

    def list_all(self) -> Iterator[RemoteSecret]:
        """Every secret."""
        with self._open() as secrets:
            copies = [kept.copy(name) for name, kept in secrets.items()]
        yield from copies

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """A new version, unless the same one is served under the same marks and details."""
        if flaw := illegal_name(self.kind, remote) or too_large(self.kind, len(value.reveal().encode())):
            raise Invalid("write", f"{self.name}:{remote}", flaw)
        if not value:
            raise Invalid("write", f"{self.name}:{remote}", "the value is empty")
        if self.refuses:
            raise self.refuses
        with self._open() as secrets:
            kept = secrets.setdefault(remote, Kept([], None))
            if kept.copy(remote).intact and kept.marks == marks and not details.differing(kept.details):
                return kept.copy(remote)
            kept.values.append(value)
            kept.lay(marks, details)
            kept.written = len(kept.values)
            self.writes += 1
            return kept.copy(remote)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """What stands beside it, without a new version."""
        if self.refuses:
            raise self.refuses
        with self._open() as secrets:
            secrets[remote].lay(marks, details)
            self.labels += 1
            return secrets[remote].copy(remote)

    def create(
        self, remote: str, value: Sensitive, marks: OwnershipTags, *, details: Details = NO_DETAILS
    ) -> RemoteSecret:
        """The first version of a new name. Raises Taken."""
        with self._open() as secrets:
            if remote in secrets:
                raise Taken("write", f"{self.name}:{remote}", "the name is taken")
            return self.write(remote, value, marks, None, details=details)

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

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        """The values before the last."""
        self._check_name(remote, "look into the past of")
        with self._open() as secrets:
            return secrets[remote].past if remote in secrets else {}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Let the values before the last go, or say that they stay."""
        self._check_name(remote, "forget old versions of")
        with self._open() as secrets:
            if remote not in secrets:
                return ()
            if self.forgets:
                secrets[remote].forget()
            return tuple(f"version {number} stays" for number in secrets[remote].past)

    def purge(self, remote: str) -> tuple[str, ...]:
        """Remove it with every value."""
        self._check_name(remote, "erase")
        with self._open() as secrets:
            there = secrets.pop(remote, None)
        return () if self.erases or there is None else ("it can be restored for 7 days",)

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

    def _check_name(self, remote: str, doing: str) -> None:
        if flaw := illegal_name(self.kind, remote):
            raise Invalid(doing, f"{self.name}:{remote}", flaw)

    def _open(self) -> "Opened":
        return Opened(self)


class SharedMemory:
    """Its way to single keys: a write that comes too late is refused."""

    atomic = False

    def __init__(self, store: MemoryStore) -> None:
        self.name = store.name
        self._store = store

    def look(self, remote: str) -> Shared | None:
        """What is served."""
        with self._store._open() as secrets:
            if (kept := secrets.get(remote)) is None:
                return None
            text, version = kept.values[-1], str(len(kept.values))
            return shared_text(f"{self.name}:{remote}", remote, version, text, dict(kept.notes), kept.marks)

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """The notes, then the value."""
        text = checked_text(f"{self.name}:{remote}", partial(too_large, self._store.kind), change, current)
        if self._store.refuses:
            raise self._store.refuses
        with self._store._open() as secrets:
            kept = secrets.setdefault(remote, Kept([], None))
            kept.notes |= change.laid
            if len(kept.values) != int(current.version_id if current else 0):
                raise Conflict("merge into", f"{self.name}:{remote}", "somebody else was faster")
            if change or current is None:
                kept.values.append(text)
                self._store.writes += 1
            for name in change.removed:
                kept.notes.pop(name, None)

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Those with notes."""
        with self._store._open() as secrets:
            found = [(name, dict(kept.notes)) for name, kept in secrets.items() if kept.notes]
        return iter(found)

    def tidy(self, remote: str) -> None:
        """Nothing is left."""


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
