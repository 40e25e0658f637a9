"""Makes checkpoints, and signs nothing that does not continue the last signed tree.

Stored tiles that hash to its root are true, so the new root needs only them and new leaves. Only a pass over all
entries detects a changed old one.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from keyturn.core.compare_and_set import VersionedEntry, change_entry, jittered
from keyturn.core.errors import Conflict, Rewritten
from keyturn.core.ports.hub import StatePort
from keyturn.core.ports.ledger import Signer
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint, trusted
from keyturn.ledger.merkle import CompactRange, tree_root
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.reader import LedgerReader
from keyturn.ledger.signed_notes import PublicKey, Verify, signed_by
from keyturn.ledger.storage.tiles import grown, nodes_of
from keyturn.ledger.witness.requests import Witnesses

ATTEMPTS: Final = 3
"""The most attempts where other processes make checkpoints meanwhile."""


LOOK: Final = timedelta(days=1)
"""The time after which all entries are read again."""


class CheckpointCopy(Protocol):
    """The newest checkpoint outside the ledger, which exposes a rollback."""

    def read(self) -> tuple[str, int]:
        """The note and its version; empty and 0 where there is none."""

    def write(self, note: str, *, cas: int) -> None:
        """Replace it. Raises Conflict when the version is no longer ``cas``."""


class CheckpointInHub:
    """A :class:`CheckpointCopy` in Keyturn's mount of the hub."""

    def __init__(self, hub: StatePort, origin: str) -> None:
        self._hub = hub
        self._path = f"ledgers/{origin}"
        self._looked = ""

    def read(self) -> tuple[str, int]:
        """The note and its version; empty and 0 where there is none."""
        state = self._hub.read_state(self._path)
        self._looked = str(state.data.get("looked_through", "")) if state else ""
        return (str(state.data.get("checkpoint", "")), state.version) if state else ("", 0)

    def write(self, note: str, *, cas: int) -> None:
        """Replace it. Raises Conflict when the version is no longer ``cas``."""
        self._hub.write_state(self._path, {"checkpoint": note, "looked_through": self._looked}, cas=cas)

    def look_is_due(self, now: datetime) -> bool:
        """Whether all entries were last read a day ago or more, or never."""
        self.read()
        try:
            return not timedelta(0) <= now - datetime.fromisoformat(self._looked) < LOOK
        except (ValueError, TypeError):
            return True

    def looked_through(self, now: datetime) -> None:
        """Record that all entries were read, unless another process writes meanwhile."""
        note, version = self.read()
        self._looked = now.isoformat()
        if note:
            with suppress(Conflict):
                self.write(note, cas=version)


def sign_checkpoint(
    ledger: StoredLedger,
    signer: Signer,
    copy: CheckpointCopy,
    clock: Callable[[], datetime],
    verify: Verify,
    *,
    thorough: bool = True,
    witnesses: Witnesses | None = None,
) -> Checkpoint | None:
    """Sign the ledger's state and store it in the ledger and its copy; None when nothing is new.

    Raises Rewritten, and signs nothing, when the ledger does not continue its newest checkpoint and the copy.
    ``thorough`` reads all entries, about a second per million. Otherwise the tiles expose missing entries but not
    changed ones, and all entries are read only where they mismatch. The checkpoint is kept without cosignatures too.
    """
    for _ in range(ATTEMPTS):
        attempt = _Attempt(ledger, PublicKey(ledger.origin, signer.public_key()), verify)
        try:
            state, version = attempt.examine(copy, thorough=thorough)
            made = attempt.signed(state, signer, clock, witnesses)
        except Conflict as error:
            conflict = error
            continue
        newest = made or state.latest
        if newest and newest.note != state.copy:
            _write(copy, newest, version)
        return made
    raise conflict


@dataclass(frozen=True)
class _LedgerState:
    """The ledger's size, root, newest note, its copy, and the later of the two."""

    size: int
    root: bytes
    newest: str
    copy: str
    latest: Checkpoint | None


@dataclass
class _Attempt:
    """One attempt. ``tiles`` are those that change, ``stored`` those read."""

    ledger: StoredLedger
    key: PublicKey
    verify: Verify
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    stored: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def examine(self, stored_copy: CheckpointCopy, *, thorough: bool) -> tuple[_LedgerState, int]:
        """The ledger's state and the copy's version. Raises Rewritten after a change."""
        # The order matters: each of these can only be behind those that are read later.
        copy, version = stored_copy.read()
        newest = self.ledger.newest()
        size = self.ledger.size()
        earlier = [*self._stored(newest, copy), *self._copied(copy)]
        tiled = read_checkpoint(newest).size if newest else 0
        root = self._root(size, earlier, tiled, thorough=thorough)
        latest = max(earlier, key=lambda checkpoint: checkpoint.size, default=None)
        return _LedgerState(size, root, newest, copy, latest), version

    def signed(
        self, state: _LedgerState, signer: Signer, clock: Callable[[], datetime], witnesses: Witnesses | None
    ) -> Checkpoint | None:
        """The new checkpoint, stored; None where nothing is new. Raises Conflict."""
        latest = state.latest
        if state.size == (latest.size if latest else 0):
            if latest and latest.note != state.newest:
                self.ledger.keep(latest.note, latest.size, self.tiles, after=state.newest)
            return None
        made = Checkpoint(self.ledger.origin, state.size, state.root, clock()).sign(signer)
        trusted(made.note, [self.key], self.verify)
        if witnesses:
            made = witnesses.cosigned(made, latest.size if latest else 0, nodes_of(self._tile))
        self.ledger.keep(made.note, made.size, self.tiles, after=state.newest)
        return made

    def _stored(self, newest: str, copy: str) -> list[Checkpoint]:
        """The ledger's newest checkpoint, unverified where the hub has it too, since its key may be replaced."""
        if not newest or newest == copy:
            return []
        self._ours(newest)
        return [trusted(newest, [self.key], self.verify)]

    def _copied(self, copy: str) -> list[Checkpoint]:
        if not copy:
            return []
        return [trusted(copy, [self.key], self.verify) if signed_by(copy, self.key) else self._ours(copy)]

    def _ours(self, note: str) -> Checkpoint:
        checkpoint = read_checkpoint(note)
        if checkpoint.origin != self.ledger.origin:
            name = checkpoint.origin.partition("/")[2]
            hint = f"If it was moved here on purpose, set KEYTURN_LEDGER_NAME={name}"
            raise self._rewritten(f"its newest checkpoint is one of {checkpoint.origin}", hint)
        return checkpoint

    def _root(self, size: int, earlier: Sequence[Checkpoint], tiled: int, *, thorough: bool) -> bytes:
        """The root over all entries, once they contain those of ``earlier``."""
        self._check_length(size, earlier)
        self._grow(tiled, size)
        sizes = sorted({size, *(checkpoint.size for checkpoint in earlier)})
        by_tiles = self._roots_by_tiles(sizes)
        as_signed = all(by_tiles.get(checkpoint.size) == checkpoint.root for checkpoint in earlier)
        if not thorough and as_signed and size in by_tiles:
            return by_tiles[size]
        roots = self._roots_by_entries(sizes)
        for checkpoint in earlier:
            if roots[checkpoint.size] != checkpoint.root:
                raise self._rewritten(f"its entries are not those that {checkpoint} was made over")
        if by_tiles.get(size) != roots[size]:
            self.tiles.clear()
            self._grow(0, size)
        return roots[size]

    def _check_length(self, size: int, earlier: Sequence[Checkpoint]) -> None:
        for checkpoint in earlier:
            if checkpoint.size > size:
                raise self._rewritten(f"it has {size} entries, and {checkpoint} was made before")

    def _grow(self, begun: int, size: int) -> None:
        """Add the entries after the first ``begun`` to the tiles."""
        reader = LedgerReader(self.ledger, begun + 1)
        for hashes in self._whole(reader, size):
            self.tiles |= grown(self._tile, begun, hashes)
            begun += len(hashes)

    def _roots_by_tiles(self, sizes: Sequence[int]) -> dict[int, bytes]:
        """The roots by the tiles; empty where a tile is missing."""
        nodes = nodes_of(self._tile)
        try:
            return {size: tree_root(nodes, size) for size in sizes}
        except LookupError:
            return {}

    def _roots_by_entries(self, sizes: Sequence[int]) -> dict[int, bytes]:
        reader, compact_range, roots = LedgerReader(self.ledger), CompactRange(), {}
        for size in sizes:
            for hashes in self._whole(reader, size):
                compact_range.extend(hashes)
            roots[size] = compact_range.root()
        return roots

    def _whole(self, reader: LedgerReader, size: int) -> Iterator[list[bytes]]:
        """Hashes of the leaves up to ``size``. Raises Rewritten for a missing or misplaced one."""
        yield from reader.hashes(size)
        if reader.read < size:
            missing = f"entry {reader.read + 1} is missing"
            raise self._rewritten(reader.misplaced.problem if reader.misplaced else missing)

    def _tile(self, level: int, number: int) -> bytes:
        if (level, number) not in self.stored:
            self.stored[level, number] = self.ledger.tile(level, number)
        return self.tiles.get((level, number)) or self.stored[level, number]

    def _rewritten(self, problem: str, hint: str = "") -> Rewritten:
        hint = hint or "Keep the ledger as it is for those who look into it: keyturn ledger verify says where"
        return Rewritten("make a checkpoint of", self.ledger.origin, problem, hint)


def _write(stored_copy: CheckpointCopy, newest: Checkpoint, version: int) -> None:
    """Replace the copy, unless another process has written a later one."""

    def later(there: tuple[str, int]) -> str | None:
        note = there[0]
        return None if note and read_checkpoint(note).size >= newest.size else newest.note

    entry: VersionedEntry[tuple[str, int], str, None] = VersionedEntry(
        f"the copy of the newest checkpoint of {newest.origin}",
        stored_copy.read,
        lambda there, note: stored_copy.write(note, cas=there[1]),
    )
    change_entry(entry, later, jittered(time.sleep, random.random), first=("", version))
