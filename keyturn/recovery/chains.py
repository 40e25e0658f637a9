"""The chains of backups in a place, and which is the newest usable one."""

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
"""The name of a manifest. Other objects are ignored and break no chain."""
NONE_THERE: Final = (
    "See that `backups` in the operator's file names the right place and prefix; a bucket with versions may have them"
    " below delete markers. Where there never were any: `keyturn backup run`"
)


@dataclass(frozen=True)
class StoredChain:
    """A chain as listed: manifests by number, and other objects.

    Without the manifest of its base it has no backup.
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
        """The place's time of its newest manifest, if any."""
        return self.manifests[-1].changed_at if self.manifests else None

    @property
    def size(self) -> int:
        """Total bytes."""
        return sum(stored.size for stored in (*self.manifests, *self.objects))


@dataclass(frozen=True)
class OpenedChain:
    """The valid backups of a chain from its base on. ``problem`` is why the rest is invalid."""

    name: str
    seal: BackupSeal
    manifests: tuple[Manifest, ...]
    problem: KeyturnError | None = None

    @property
    def newest(self) -> Manifest:
        """The last valid backup."""
        return self.manifests[-1]

    def until(self, sequence: int | None) -> "OpenedChain":
        """The chain up to one of its backups. Raises NotFound."""
        if sequence is None or sequence == self.newest.sequence:
            return self
        if not 0 <= sequence < len(self.manifests):
            problem = f"the chain has the backups 0 to {self.newest.sequence} that can be relied on"
            raise NotFound("find", f"backup {self.name}/{sequence}", problem, "See `keyturn backup list`")
        return OpenedChain(self.name, self.seal, self.manifests[: sequence + 1])


@dataclass(frozen=True)
class ChainCheck:
    """The result of reading a chain.

    ``good`` is the last backup up to which all is valid; None for an invalid base.
    """

    name: str
    backups: int
    entries: int
    size: int
    problem: KeyturnError | None = None
    newest: Manifest | None = None
    good: int | None = None


def list_chains(place: BackupPlace) -> list[StoredChain]:
    """The chains in the place, oldest first. Other objects are ignored."""
    chains: dict[str, list[StoredObject]] = defaultdict(list)
    for stored in place.listed():
        name, _, _ = stored.name.partition("/")
        if CHAIN.fullmatch(name):
            chains[name].append(stored)
    return [_stored_chain(name, objects) for name, objects in sorted(chains.items())]


def open_chain(
    place: BackupPlace, stored: StoredChain, keys: BackupKeys, check: SignatureCheck, until: int | None = None
) -> OpenedChain:
    """Open the chain and check each manifest, up to ``until``. Raises for an invalid base.

    Each manifest has the digest of the one before, which exposes changes but not a truncated end: check the newest
    backup's age.
    """
    names = [item.name for item in stored.manifests][: None if until is None else until + 1]
    if not names or not names[0].endswith(f"/{0:08d}{SUFFIX}"):
        problem = "the manifest of its base is missing: it was never finished, or it was removed"
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
    """Return the chain of that name or with the newest point, and why newer ones were skipped. Raises NotFound.

    The last begun chain need not have the newest point. The place's write time caps each point, against fast clocks
    and rewritten chains. A named chain raises what is wrong with its base.
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
    """The first missing or resized part, by the listing, if any; :func:`verify_chain` reads everything."""
    sizes = {item.name: item.size for item in stored.objects}
    for manifest in chain.manifests:
        for part in (part for part in manifest.parts if sizes.get(part.name) != part.size):
            there = place.find(part.name)
            if there is None or there.size != part.size:
                problem = "the backup has this part, and it is gone" if there is None else "it is not as long as it was"
                return SealRefused(Refusal.MALFORMED, part.name, problem, before(manifest))
    return None


def all_lines(place: BackupPlace, chain: OpenedChain) -> Iterator[tuple[Manifest, Line]]:
    """Every line of the chain, newest backup first."""
    return read_lines(place, chain.seal, reversed(chain.manifests))


def verify_chain(place: BackupPlace, stored: StoredChain, keys: BackupKeys, check: SignatureCheck) -> ChainCheck:
    """Read the whole chain back. Problems are returned, not raised."""
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
    """The newest valid backup outside chain ``damaged``, if any. It reads whole chains, newest first."""
    for stored in sorted(list_chains(place), key=_written_at, reverse=True):
        shown = verify_chain(place, stored, keys, check) if stored.name != damaged else None
        if shown and shown.good is not None:
            return open_chain(place, stored, keys, check, shown.good).newest
    return None


def _last_before(chain: OpenedChain, name: str) -> int | None:
    """The last backup before the one with this part; None where that is the base."""
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
