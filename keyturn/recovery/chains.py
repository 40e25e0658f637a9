"""What a place has: chains of backups, whether each is whole, and which is the newest that can be relied on."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.ports.backups import CHAIN, BackupKeys, BackupPlace, BackupSeal, Manifest, StoredObject
from keyturn.core.ports.envelope import Refusal, SealRefused
from keyturn.recovery.lines import Line
from keyturn.recovery.manifests import (
    SUFFIX,
    SealedManifest,
    SignatureCheck,
    digest_of_object,
    open_manifest,
    open_seal,
    parse_manifest,
)
from keyturn.recovery.parts import before, read_lines

FETCHED_AT_ONCE: Final = 16
MANIFEST: Final = re.compile(rf"{CHAIN.pattern}/[0-9]{{8}}{re.escape(SUFFIX)}")
"""What a manifest's object is called. Any other that somebody puts beside it is none, and breaks no chain."""
NONE_THERE: Final = (
    "See that `backups` in the operator's file names the right place and prefix; a bucket with versions may have them"
    " below delete markers. Where there never were any: `keyturn backup run`"
)


@dataclass(frozen=True)
class StoredChain:
    """A chain as the place lists it, without opening anything: its manifests by their numbers, and its other objects.

    Without the manifest of its base nothing in it is a backup.
    """

    name: str
    manifests: tuple[StoredObject, ...]
    objects: tuple[StoredObject, ...]

    @property
    def begun_at(self) -> datetime:
        """When it was begun, by its name."""
        return datetime.strptime(self.name.partition("-")[0], "%Y%m%dT%H%M%S%z")

    @property
    def newest_at(self) -> datetime | None:
        """When its newest manifest was written, by the place's word; None without any."""
        return self.manifests[-1].changed_at if self.manifests else None

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(stored.size for stored in (*self.manifests, *self.objects))


@dataclass(frozen=True)
class OpenedChain:
    """A chain's backups that hold together, from its base on. ``problem`` says why the rest does not."""

    name: str
    seal: BackupSeal
    manifests: tuple[Manifest, ...]
    problem: KeyturnError | None = None

    @property
    def newest(self) -> Manifest:
        """The last one that holds: what restoring leads to."""
        return self.manifests[-1]

    def until(self, sequence: int | None) -> "OpenedChain":
        """The chain as it was up to one of its backups. Raises NotFound."""
        if sequence is None or sequence == self.newest.sequence:
            return self
        if not 0 <= sequence < len(self.manifests):
            problem = f"the chain has the backups 0 to {self.newest.sequence} that can be relied on"
            raise NotFound("find", f"backup {self.name}/{sequence}", problem, "See `keyturn backup list`")
        return OpenedChain(self.name, self.seal, self.manifests[: sequence + 1])


@dataclass(frozen=True)
class ChainCheck:
    """What reading all of a chain has shown: how many entries, and what does not hold.

    ``good`` is the number of the last backup up to which all of it holds; None where its base does not.
    """

    name: str
    backups: int
    entries: int
    size: int
    problem: KeyturnError | None = None
    newest: Manifest | None = None
    good: int | None = None


def list_chains(place: BackupPlace) -> list[StoredChain]:
    """What there is, the oldest first. What has no name of a backup is not looked at."""
    chains: dict[str, list[StoredObject]] = defaultdict(list)
    for stored in place.listed():
        name, _, _ = stored.name.partition("/")
        if CHAIN.fullmatch(name):
            chains[name].append(stored)
    return [_stored_chain(name, objects) for name, objects in sorted(chains.items())]


def open_chain(
    place: BackupPlace, stored: StoredChain, keys: BackupKeys, check: SignatureCheck, until: int | None = None
) -> OpenedChain:
    """The chain, opened and checked manifest by manifest, up to number ``until``. Raises where its base does not hold.

    Each manifest names the one before it by its digest: one that is missing, exchanged or put in between is noticed.
    What was cut off at the end can't be told from here: see how old the newest one is.
    """
    names = [item.name for item in stored.manifests][: None if until is None else until + 1]
    if not names or not names[0].endswith(f"/{0:08d}{SUFFIX}"):
        problem = "the manifest of its base is missing: it was never finished, or somebody has removed it"
        raise SealRefused(Refusal.MALFORMED, f"{place.name}/{stored.name}", problem, "Take another chain")
    first = parse_manifest(names[0], place.get(names[0]))
    seal = open_seal(first, keys)
    opened, parent = list[Manifest](), ""
    try:
        for number, (name, content) in enumerate(_fetched(place, names)):
            manifest = _next(name, content, number, parent, seal, check)
            opened.append(manifest)
            parent = digest_of_object(content)
    except KeyturnError as error:
        if not opened:
            raise
        return OpenedChain(stored.name, seal, tuple(opened), error)
    return OpenedChain(stored.name, seal, tuple(opened))


def newest_chain(
    place: BackupPlace, keys: BackupKeys, check: SignatureCheck, name: str | None = None, until: int | None = None
) -> tuple[OpenedChain, list[KeyturnError]]:
    """The chain of that name, or the one that leads to the newest moment; and why newer ones were passed over. Raises
    NotFound.

    Several processes have chains side by side, so the one that was begun last need not be the one that goes on. A
    moment counts as no later than the place says that it was written: neither a hub whose clock was ahead, nor somebody
    who writes an old chain anew, is taken for the newest. A chain that was asked for by name raises what is wrong with
    its base.
    """
    passed, opened = list[KeyturnError](), list[OpenedChain]()
    best: tuple[datetime, OpenedChain] | None = None
    for stored in sorted(list_chains(place), key=_written_at, reverse=True):
        if name not in (None, stored.name) or (best and _written_at(stored)[0] <= best[0]):
            continue
        try:
            chain = open_chain(place, stored, keys, check, until)
        except KeyturnError as error:
            if name:
                raise
            passed.append(error)
            continue
        opened.append(chain)
        moment = min(_written_at(stored)[0], chain.newest.begun_at)
        best = (moment, chain) if best is None or moment > best[0] else best
    if best:
        return best[1], [*passed, *(chain.problem for chain in opened if chain.problem and chain is not best[1])]
    if passed:
        raise passed[0]
    raise NotFound("find", f"backup {name or 'of the hub'}", f"{place.name} has none", NONE_THERE)


def find_lost_part(place: BackupPlace, stored: StoredChain, chain: OpenedChain) -> KeyturnError | None:
    """The first part that a manifest names and the place no longer has in that size; None where all are there.

    By the listing, and by asking for what that lacks: another look than :func:`verify_chain`, which reads all of it.
    """
    sizes = {item.name: item.size for item in stored.objects}
    for manifest in chain.manifests:
        for part in (part for part in manifest.parts if sizes.get(part.name) != part.size):
            there = place.find(part.name)
            if there is None or there.size != part.size:
                problem = "the backup has this part, and it is gone" if there is None else "it is not as long as it was"
                return SealRefused(Refusal.MALFORMED, part.name, problem, before(manifest))
    return None


def all_lines(place: BackupPlace, chain: OpenedChain) -> Iterator[tuple[Manifest, Line]]:
    """Every line of the chain, the newest backup first."""
    return read_lines(place, chain.seal, reversed(chain.manifests))


def verify_chain(place: BackupPlace, stored: StoredChain, keys: BackupKeys, check: SignatureCheck) -> ChainCheck:
    """Read all of it back. What does not hold is told, and not raised."""
    try:
        chain = open_chain(place, stored, keys, check)
    except KeyturnError as error:
        return ChainCheck(stored.name, 0, 0, stored.size, error)
    entries, problem = 0, chain.problem
    good: int | None = chain.newest.sequence
    try:
        for _ in read_lines(place, chain.seal, chain.manifests):
            entries += 1
    except KeyturnError as error:
        good, problem = _last_before(chain, error.name), error
    return ChainCheck(stored.name, len(chain.manifests), entries, stored.size, problem, chain.newest, good)


def newest_whole(place: BackupPlace, keys: BackupKeys, check: SignatureCheck, damaged: str) -> Manifest | None:
    """The newest backup of another chain than the ``damaged`` one of which all holds; None where there is none.

    All of a chain is read, the newest chain first, until one has such a backup.
    """
    for stored in sorted(list_chains(place), key=_written_at, reverse=True):
        shown = verify_chain(place, stored, keys, check) if stored.name != damaged else None
        if shown and shown.good is not None:
            return open_chain(place, stored, keys, check, shown.good).newest
    return None


def _last_before(chain: OpenedChain, name: str) -> int | None:
    """The number of the last backup before the one with the part of this name; None where that is the base."""
    numbers = (m.sequence for m in chain.manifests if any(part.name == name for part in m.parts))
    number = next(numbers, 0)
    return number - 1 if number else None


def _written_at(stored: StoredChain) -> tuple[datetime, str]:
    return stored.newest_at or datetime.min.replace(tzinfo=UTC), stored.name


def _next(name: str, content: bytes, number: int, parent: str, seal: BackupSeal, check: SignatureCheck) -> Manifest:
    sealed: SealedManifest = parse_manifest(name, content)
    manifest = open_manifest(name, sealed, seal, check)
    if (manifest.chain, manifest.sequence, manifest.parent) != (sealed.chain, number, parent):
        problem = (
            f"number {number} of the chain is missing or was exchanged: this one does not follow on what is before it"
        )
        raise SealRefused(Refusal.ROLLED_BACK, name, problem, "What is before it can be restored")
    return manifest


def _fetched(place: BackupPlace, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        for begin in range(0, len(names), FETCHED_AT_ONCE):
            window = names[begin : begin + FETCHED_AT_ONCE]
            yield from zip(window, pool.map(place.get, window), strict=True)


def _stored_chain(name: str, objects: Sequence[StoredObject]) -> StoredChain:
    manifests = sorted((item for item in objects if MANIFEST.fullmatch(item.name)), key=lambda item: item.name)
    rest = tuple(item for item in objects if not MANIFEST.fullmatch(item.name))
    return StoredChain(name, tuple(manifests), rest)
