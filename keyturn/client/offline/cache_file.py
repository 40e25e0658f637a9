"""An encrypted file of secrets, for a process that starts while no source answers.

    offline = OfflineCache("/var/cache/app/keyturn", lambda: AesEnvelope(FileDataKeys("/etc/app/keyturn.key")))
    client = SecretClient(sources, offline=offline)

A thread rewrites the file after reads. It is bound to one host and path, and records its generation and notices. It is
accepted only with the ``client.webhooks.notice_journal`` that it names.
"""

import logging
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.client.cache import size_of
from keyturn.client.machine import Machine, this_machine
from keyturn.client.minimum_versions import Floor
from keyturn.client.offline.contents import SLACK, Aged, Contents, decode, set_back
from keyturn.client.offline.port import Keeping
from keyturn.client.policy import CachePolicy
from keyturn.client.private_directory import PrivateDirectory
from keyturn.client.process_memory import guard_memory
from keyturn.client.secrets import Secret
from keyturn.client.statistics import Event, Statistics
from keyturn.client.webhooks.notice_journal import FILE as NOTICES
from keyturn.client.webhooks.notice_journal import Journal, NoticeJournal
from keyturn.core.errors import Invalid, KeyturnError, Unavailable
from keyturn.core.notifications.notices import Notice
from keyturn.core.ports.envelope import Envelope, Refusal, SealRefused

if TYPE_CHECKING:
    from keyturn.client.offline.port import Promised

log = logging.getLogger(__name__)

FILE: Final = "secrets"
LOCK: Final = "secrets.lock"
OVERHEAD: Final = 8
"""The largest ratio of file size, less a mebibyte, to its names and values as JSON."""
SAME_VERSION: Final = 60.0
"""Seconds before a rewrite that only updates the times of reading."""
AGAIN: Final = 60.0
"""Seconds before a failed write or open is repeated."""
LOOK_EVERY: Final = 600.0
"""Seconds between checks of the journal, and between notes of the time while the file is in use."""
TRIES: Final = 3
"""Attempts to open a file that others replace at the same time."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A pending change, None for a removal, read ``at`` by :attr:`Machine.elapsed`."""

    secret: Secret | None
    at: float


class OfflineCache:
    """An ``Offline`` in ``directory``, which is created with mode 0700 where it is missing.

    ``envelope`` opens the sealing, once in each process. ``host`` replaces the machine id, as in a container. Reads are
    written ``delay`` seconds later, at most ``max_bytes`` of names and values, the newest first. Several processes may
    share a directory. Core dumps are disabled. ``refusals`` counts refused files.
    """

    def __init__(
        self,
        directory: Path | str,
        envelope: Callable[[], Envelope],
        *,
        host: str = "",
        delay: float = 1.0,
        max_bytes: int = 64 * 2**20,
        machine: Machine | None = None,
    ) -> None:
        self.refusals = Counter[Refusal]()
        self._directory = PrivateDirectory(directory)
        self._journal = NoticeJournal(self._directory)
        self._open_envelope = envelope
        self._began_in = 0
        self._delay = delay
        self._max_bytes = max_bytes
        self._machine = machine or this_machine(host)
        self._context = {
            "keyturn-purpose": "offline-cache",
            "keyturn-host": self._machine.host,
            "keyturn-path": os.path.realpath(self._directory.path / FILE),
        }

    def begin(self, cache: Keeping, statistics: Statistics, promised: "Promised") -> None:
        """Start in this process: restore the promises of earlier notices, and guard the memory.

        Raises Invalid where another client of the process uses it.
        """
        if self._began_in == os.getpid():
            problem = "another client of this process has it"
            raise Invalid(
                "use",
                f"the offline cache in {self._directory.path}",
                problem,
                "Give each its own; they may share a directory",
            )
        self._began_in = os.getpid()
        self._directory.abandon()
        guard_memory()
        self._cache, self._statistics, self._promised = cache, statistics, promised
        self._changed = threading.Condition()
        self._writing, self._loading = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._envelope: Envelope | None = None
        self._changes: dict[str, Unwritten] = {}
        self._written: dict[str, str] = {}
        self._own: set[int] = set()
        self._ending = Counter[str]()
        self._name, self._number = "", 0
        self._due: float | None = None
        self._closed = self._in_use = False
        self._looked: tuple[int, int, int] | None = None
        self._look_again, self._there = math.inf, set[str]()
        self._warnings: set[str] = set()
        self._restore()

    def put(self, secret: Secret, policy: CachePolicy) -> None:
        """See :meth:`Offline.put`. A secret that may not be given while no source answers is never written."""
        self._in_use = False
        if not lasting(policy):
            self._changes.pop(secret.path, None)
            return
        fresh = self._written.get(secret.path) != _version(secret)
        self._changes[secret.path] = Unwritten(secret, self._machine.elapsed() - max(0.0, secret.age()))
        self._wake(self._delay if fresh else max(self._delay, SAME_VERSION))

    def let_go(self, path: str) -> None:
        """Drop a pending write, before its notice is in the journal."""
        with self._changed:
            self._ending[path] += 1
        self._changes.pop(path, None)

    def forget(self, path: str) -> None:
        """See :meth:`Offline.forget`."""
        self._changes[path] = Unwritten(None, self._machine.elapsed())
        self._wake(self._delay)

    def note(self, notice: Notice, floor_ttl: float) -> None:
        """Store a notice on disk before returning, or remove the file that it affects.

        Raises Unavailable where neither is possible.
        """
        now = self._machine.now()
        try:
            self._own.add(self._journal.note(notice, now + floor_ttl, now))
        except OSError as error:
            self._warn(f"notices can't be kept in {self._directory.path} ({error.strerror})")
            self._remove(notice)
        self._ended(notice)
        self._wake(self._delay)

    def find(self, path: str, now: float) -> bool:
        """See :meth:`Offline.find`. The rest of the file is adopted too."""
        with self._loading:
            if not self._worthwhile(path):
                return False
            if not self._guarded(lambda: self._load(path, now), "opened"):
                self._look_again = self._machine.elapsed() + AGAIN
            if self._cache.held(path) is None:
                self._there.discard(path)
                return False
        self._statistics.count(Event.OFFLINE)
        return True

    def flush(self) -> bool:
        """Write pending changes now; whether that succeeded. Failures are logged."""
        with self._writing:
            if self._due is None:
                return True
            with self._changed:
                self._due = None
            if not self._guarded(self._write, "written"):
                self._wake(AGAIN)
                return False
            self._warnings.clear()
            return True

    def close(self) -> None:
        """See :meth:`Offline.close`."""
        if not self._began_in:
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
        self.flush()
        self._began_in = 0

    # Reading

    def _restore(self) -> None:
        try:
            journal = self._journal.read()
        except OSError as error:
            self._warn(f"notices can't be read in {self._directory.path} ({error.strerror})")
            return
        self._name, self._number = journal.name if journal.believed else "", journal.number
        for barrier in journal.barriers:
            left = min(barrier.until - self._machine.now(), self._cache.policy_of(barrier.notice.secret_path).floor_ttl)
            if left > 0:
                self._promised(barrier.notice, left)
                self._ended(barrier.notice)

    def _worthwhile(self, path: str) -> bool:
        try:
            identity = self._directory.identity(FILE)
        except OSError:
            return False
        if identity is None:
            return False
        return identity != self._looked or path in self._there or self._machine.elapsed() >= self._look_again

    def _load(self, path: str, now: float) -> None:
        """Have the cache adopt the secrets, ``path`` last, so that it stays."""
        self._look_again = math.inf
        # Read before the journal, so that a notice that arrives meanwhile is seen in one of the two.
        began = self._cache.floors.clock()
        with self._changed:
            ending = {*self._ending}
        admitted = [aged for aged in self._admitted() if aged.secret.path not in ending]
        for aged in sorted(admitted, key=lambda aged: aged.secret.path == path):
            if self._cache.adopt(aged.secret, aged.age, now, began):
                self._there.add(aged.secret.path)
        if self._there and not self._in_use:
            log.warning("no source answers: what was read before is given from %s", self._directory.path / FILE)
        self._in_use = True
        with suppress(OSError):
            self._journal.mark(self._machine.now())
        if not self._written:
            # Seal the file again with the newest key while the old one still opens it.
            self._wake(self._delay)

    def _admitted(self) -> list[Aged]:
        """The secrets that no notice has ended. Tries again while others replace the file."""
        for tries in range(TRIES, 0, -1):
            identity = self._directory.identity(FILE)
            if identity != self._looked:
                self._looked = identity
                self._there.clear()
            journal = self._follow()
            try:
                contents, secrets = self._opened(journal)
                break
            except SealRefused:
                if tries == 1 or self._directory.identity(FILE) == identity:
                    raise
        return unbarred(secrets, journal, contents.number)

    def _opened(self, journal: Journal) -> tuple[Contents, list[Aged]]:
        """The file's contents, and its secrets' ages. Raises SealRefused."""
        limit = OVERHEAD * self._max_bytes + 2**20
        sealed = self._directory.read(FILE, limit)
        if sealed is None:
            raise SealRefused(Refusal.MALFORMED, str(self._directory.path), "the file was removed")
        if len(sealed) > limit:
            raise SealRefused(
                Refusal.MALFORMED, str(self._directory.path), "the file is larger than any that is written"
            )
        contents = decode(self._sealing().open(sealed, self._context))
        refuse_rolled_back(contents, journal)
        if self._machine.now() < journal.clock - SLACK:
            raise set_back()
        return contents, [*contents.aged(self._machine)]

    def _sealing(self) -> Envelope:
        if self._envelope is None:
            self._envelope = self._open_envelope()
        return self._envelope

    # Writing

    def _write(self) -> None:
        with self._directory.locked(LOCK):
            journal = self._follow()
            if not journal.believed:
                self._journal.mark(self._machine.now())
                journal = self._follow()
            changes = dict(self._changes)
            generation, before = self._before(journal)
            secrets = self._merged(before, changes)
            if secrets or before:
                self._seal(secrets, generation + 1, journal)
        for path, change in changes.items():
            if self._changes.get(path) is change:
                del self._changes[path]

    def _before(self, journal: Journal) -> tuple[int, dict[str, Aged]]:
        """The newest generation, and the file's secrets that may still be given."""
        if self._directory.identity(FILE) is None:
            return journal.generation, {}
        try:
            contents, secrets = self._opened(journal)
        except SealRefused as error:
            self._refuse(error)
            return journal.generation, {}
        admitted = unbarred(secrets, journal, contents.number)
        return contents.generation, {aged.secret.path: aged for aged in admitted}

    def _merged(self, before: Mapping[str, Aged], changes: Mapping[str, Unwritten]) -> tuple[Aged, ...]:
        elapsed = self._machine.elapsed()
        merged = dict(before)
        for path, change in changes.items():
            age = max(0.0, elapsed - change.at)
            if path in before and self._outdoes(before[path], change.secret, age):
                continue
            if change.secret is None:
                merged.pop(path, None)
            else:
                merged[path] = Aged(change.secret, age)
        living = [aged for aged in merged.values() if self._left(aged) > 0]
        return self._fitting(sorted(living, key=lambda aged: aged.age))

    def _outdoes(self, aged: Aged, secret: Secret | None, age: float) -> bool:
        """Whether another process's secret is newer than one read ``age`` seconds ago."""
        if secret and _older(secret, aged.secret):
            return aged.age < self._cache.policy_of(secret.path).floor_ttl
        return aged.age < age and not (secret and _older(aged.secret, secret))

    def _left(self, aged: Aged) -> float:
        """Seconds for which the secret may still be given."""
        policy = self._cache.policy_of(aged.secret.path)
        return policy.drawn_ttl(0.0, aged.secret) + policy.resurrect_ttl - aged.age if lasting(policy) else 0.0

    def _fitting(self, secrets: list[Aged]) -> tuple[Aged, ...]:
        room = self._max_bytes
        fitting = []
        for aged in secrets:
            size = size_of(aged.secret)
            if size <= room:
                fitting.append(aged)
                room -= size
        return tuple(fitting)

    def _seal(self, secrets: tuple[Aged, ...], generation: int, journal: Journal) -> None:
        now, elapsed = self._machine.now(), self._machine.elapsed()
        contents = Contents(generation, journal.name, journal.number, now, self._machine.boot, elapsed, secrets)
        self._directory.replace(FILE, self._sealing().seal(contents.encode(), self._context))
        # Written after the file: if the writer is killed here, the file is newer than its journal, which is accepted.
        self._journal.sealed(generation, journal.number, now)
        self._written = {aged.secret.path: _version(aged.secret) for aged in secrets}
        if self._looked:
            self._looked = self._directory.identity(FILE)

    def _follow(self) -> Journal:
        """Read the journal, and apply other processes' notices."""
        journal = self._journal.read()
        missed = not journal.believed or journal.name != self._name or self._number < journal.first
        if missed and self._name:
            # The notices that other processes received meanwhile are unknown.
            self._changes.clear()
        for barrier in journal.after(0 if missed else self._number):
            left = barrier.until - self._machine.now()
            if barrier.number not in self._own and left > 0:
                self._promised(barrier.notice, min(left, self._cache.policy_of(barrier.notice.secret_path).floor_ttl))
                self._ended(barrier.notice)
        self._name, self._number = journal.name if journal.believed else "", journal.number
        self._own = {number for number in self._own if number > journal.number}
        return journal

    def _ended(self, notice: Notice) -> None:
        """Record that the journal has the notice, or that no file exists."""
        with self._changed:
            self._ending -= Counter([notice.secret_path])

    def _remove(self, notice: Notice) -> None:
        try:
            if any(self._directory.identity(name) for name in (FILE, NOTICES)):
                with self._directory.locked(LOCK):
                    self._directory.remove(FILE)
                    # Otherwise another process would add what it read before to the next file.
                    self._directory.remove(NOTICES)
        except OSError as error:
            problem = f"it can't be kept over a restart, nor the file be removed that it ends ({error.strerror})"
            hint = f"Make room in {self._directory.path}, and see its owner and mode"
            raise Unavailable("note", f"the notice of {notice.secret_path}", problem, hint) from None

    # In the background

    def _wake(self, delay: float) -> None:
        with self._changed:
            due = time.monotonic() + delay
            if self._closed:
                return
            if self._due is None or due < self._due:
                self._due = due
                self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="keyturn-offline", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        look_at = time.monotonic() + LOOK_EVERY
        while self._wait(look_at):
            now = time.monotonic()
            if self._due is not None and now >= self._due:
                self.flush()
            elif now >= look_at:
                self._guarded(self._look, "looked at")
                look_at = now + LOOK_EVERY

    def _wait(self, look_at: float) -> bool:
        """Wait until work is due; False once this is closed."""
        with self._changed:
            until = (look_at if self._due is None else min(look_at, self._due)) - time.monotonic()
            if not self._closed and until > 0:
                self._changed.wait(until)
            return not self._closed

    def _look(self) -> None:
        self._follow()
        if self._in_use:
            self._journal.mark(self._machine.now())

    def _guarded(self, work: Callable[[], object], done: str) -> bool:
        """Whether ``work`` succeeded. An exception is counted, and logged once."""
        place = self._directory.path / FILE
        try:
            work()
        except SealRefused as error:
            self._refuse(error)
        except KeyturnError as error:
            self._warn(f"{place} can't be {done}: {error}")
        except OSError as error:
            self._warn(f"{place} can't be {done} ({error.strerror})")
        except Exception as error:  # noqa: BLE001 - an SDK's text may hold anything
            self._warn(f"{place} can't be {done} ({type(error).__name__})")
        else:
            return True
        return False

    def _refuse(self, error: SealRefused) -> None:
        self.refusals[error.refusal] += 1
        self._statistics.count(Event.REFUSED)
        self._warn(f"{self._directory.path / FILE} is refused ({error.refusal}): {error.problem}")

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            log.warning("%s", text)


def lasting(policy: CachePolicy) -> bool:
    """Whether secrets of this policy may be given while no source answers."""
    return policy.ttl > 0 and policy.resurrect_ttl > 0


def unbarred(secrets: Sequence[Aged], journal: Journal, number: int) -> list[Aged]:
    """The secrets without a notice after ``number``."""
    barred = {barrier.notice.secret_path for barrier in journal.after(number)}
    return [aged for aged in secrets if aged.secret.path not in barred]


def refuse_rolled_back(contents: Contents, journal: Journal) -> None:
    """Raise SealRefused for a file older than the last sealed one, or with a different or truncated journal."""
    if not journal.believed or contents.journal != journal.name:
        problem = "the notices next to it are missing or damaged, or not those it was written with"
    elif contents.generation < journal.generation:
        problem = f"it is generation {contents.generation}, and {journal.generation} was written later"
    elif contents.number > journal.number:
        problem = "the notices next to it are older than it is"
    else:
        return
    raise SealRefused(Refusal.ROLLED_BACK, "the offline file", problem, "What is read from now on is kept again")


def _older(secret: Secret, other: Secret) -> bool:
    """Whether its version is older than the other's, where both report one."""
    return other.version is not None and not Floor(other.version, other.made_at, math.inf).admits(secret)


def _version(secret: Secret) -> str:
    return f"{secret.version} {secret.source} {secret.revision}"
