"""The verifier. It trusts only the public key and computes the rest from the entries.

A valid checkpoint covers all entries before it. Only a checkpoint held elsewhere, as in the hub, exposes a truncated
ledger.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.core.errors import Rewritten
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint, trusted
from keyturn.ledger.merkle import CompactRange, Nodes, left_size, node_hash, range_hash
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.reader import LedgerReader
from keyturn.ledger.scan import Scan, Scanner, scan_entries
from keyturn.ledger.signed_notes import PublicKey, Verify
from keyturn.ledger.storage.tiles import nodes_of
from keyturn.ledger.succession import KeyTerm, Succession, key_terms
from keyturn.ledger.witness.cosignatures import WitnessKey, valid_cosignatures


def first_changed(source: LedgerSource, after: int, size: int, root: bytes) -> tuple[int, int]:
    """Return the range of numbers, first to last, of the first changed entry below ``root``.

    ``root`` covers the first ``size`` entries, of which the first ``after`` are unchanged.
    """
    nodes, first, last, true = nodes_of(source.tile), 0, size, root
    while last - first > 1:
        middle = first + left_size(last - first)
        halves = _halves(nodes, first, middle, last)
        if halves is None or node_hash(*halves) != true:
            break
        left_is_whole = middle <= after or _hash_of(source, first, middle) == halves[0]
        first, last, true = (middle, last, halves[1]) if left_is_whole else (first, middle, halves[0])
    return max(first, after) + 1, last


def _halves(nodes: Nodes, first: int, middle: int, last: int) -> tuple[bytes, bytes] | None:
    """The hashes of both halves; None where a tile is missing."""
    try:
        return range_hash(nodes, first, middle), range_hash(nodes, middle, last)
    except LookupError:
        return None


def _hash_of(source: LedgerSource, first: int, last: int) -> bytes:
    """The hash above leaves ``first`` to ``last - 1``, counted from 0; empty for misplaced ones."""
    reader, compact_range = LedgerReader(source, first + 1), CompactRange()
    for hashes in reader.hashes(last):
        compact_range.extend(hashes)
    return compact_range.root() if compact_range.size == last - first else b""


@dataclass(frozen=True)
class Problem:
    """A problem. The first bad entry is among ``first`` to ``last``; 0 for none.

    ``hint`` is a remedy other than preserving the ledger.
    """

    what: str
    first: int = 0
    last: int = 0
    hint: str = ""

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Verification:
    """The result: the first ``vouched`` of ``entries`` are unchanged since ``newest`` was signed.

    ``entries`` are in order. With a quorum, ``cosigned`` counts valid cosignatures of ``newest``, and ``cosigned_at``
    is when it was reached.
    """

    entries: int
    vouched: int
    checkpoints: int
    newest: Checkpoint | None
    problems: tuple[Problem, ...] = ()
    cosigned: int | None = None
    cosigned_at: datetime | None = None
    successions: tuple[Succession, ...] = ()
    """Where a trusted key handed over to a key that was not given."""

    @property
    def problem(self) -> Problem | None:
        """The first problem."""
        return self.problems[0] if self.problems else None

    @property
    def whole(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def verify_ledger(
    source: LedgerSource,
    keys: Collection[PublicKey],
    verify: Verify,
    *,
    elsewhere: Sequence[str] = (),
    scan: Scanner = scan_entries,
) -> Verification:
    """Compute everything from the entries and compare it with all checkpoints, also those ``elsewhere``.

    Raises Unavailable where the ledger can't be read.
    """
    notes, unread = list[str](), None
    try:
        notes.extend(source.checkpoints())
    except Rewritten as error:
        unread = error
    scanned = scan(source, _sizes([*notes, *elsewhere]))
    terms, successions = key_terms(scanned.marked, keys, verify)
    signed = _Signed(terms, verify)
    signed.add_stored(notes)
    signed.add_held_elsewhere(elsewhere if unread is None else ())
    if broken := unread or scanned.broken:
        read = 0 if unread else scanned.read
        damage = Problem(f"it can't be read from entry {read + 1} on: {broken.problem}", read + 1, read + 1)
        return Verification(read, 0, 0, None, (damage, *signed.problems))
    return replace(_compare(source, signed, scanned), successions=tuple(successions))


def _sizes(notes: Sequence[str]) -> list[int]:
    """The distinct sizes in these notes, unverified, ascending."""
    sizes = set[int]()
    for note in notes:
        with suppress(Rewritten):  # a malformed note is reported where it is checked
            sizes.add(read_checkpoint(note).size)
    return sorted(sizes)


def demand_witnesses(
    report: Verification, needed: int, keys: Collection[WitnessKey], verify: Verify, now: datetime
) -> Verification:
    """Add a problem where fewer than ``needed`` of these witnesses cosigned the newest checkpoint.

    A rewritten history has no cosignatures, since the ledger's signer can't make them.
    """
    newest = report.newest
    if newest is None:
        return replace(report, cosigned=0)
    valid = valid_cosignatures(newest.note, keys, verify, now)
    if len(valid) >= needed:
        times = sorted((cosignature.time for cosignature in valid), reverse=True)
        return replace(report, cosigned=len(valid), cosigned_at=times[needed - 1])
    problem = (
        f"{newest} has {len(valid)} valid cosignatures by the witnesses that are believed, and {needed} are wanted"
    )
    return replace(report, cosigned=len(valid), problems=(*report.problems, Problem(problem)))


class _Signed:
    """The trusted checkpoints, and the problems of the others."""

    def __init__(self, terms: Collection[KeyTerm], verify: Verify) -> None:
        self.checkpoints: list[Checkpoint] = []
        self.problems: list[Problem] = []
        self._terms = terms
        self._verify = verify

    def add_stored(self, notes: Iterable[str]) -> None:
        """Add the ledger's checkpoints. Each must cover more than the one before."""
        size = 0
        for number, note in enumerate(notes, 1):
            checkpoint = self._believed(note, f"checkpoint {number}")
            if checkpoint and checkpoint.size <= size:
                problem = f"checkpoint {number} covers {checkpoint.size} entries, and one before it {size}"
                self.problems.append(Problem(f"{problem}: it is not the one that was made there"))
            elif checkpoint:
                size = checkpoint.size
                self.checkpoints.append(checkpoint)

    def add_held_elsewhere(self, notes: Sequence[str]) -> None:
        for number, note in enumerate(notes, 1):
            if checkpoint := self._believed(note, f"checkpoint {number} of those held elsewhere"):
                self.checkpoints.append(checkpoint)

    def _believed(self, note: str, name: str) -> Checkpoint | None:
        try:
            size = read_checkpoint(note).size
            return trusted(note, [term.key for term in self._terms if term.covers(size)], self._verify)
        except Rewritten as error:
            self.problems.append(Problem(f"{name} was not made by this ledger's key: {error.problem}"))
            return None


def _compare(source: LedgerSource, signed: _Signed, scan: Scan) -> Verification:
    compact_range, newest, bad = CompactRange(), None, None
    believed = defaultdict[int, list[Checkpoint]](list)
    for checkpoint in signed.checkpoints:
        believed[checkpoint.size].append(checkpoint)
    for size, subtrees in scan.subtrees.items():
        for subtree in subtrees:
            compact_range.add(subtree)
        if bad := _first_problem(source, scan, compact_range, newest, believed[size]):
            break
        # The one with the most cosignatures.
        newest = max(believed[size], key=lambda checkpoint: len(checkpoint.note), default=newest)
    if scan.misplaced and not bad:
        bad = Problem(scan.misplaced.problem, scan.misplaced.sequence, scan.misplaced.sequence)
    problems = ([bad] if bad else []) + signed.problems
    return Verification(scan.read, newest.size if newest else 0, len(signed.checkpoints), newest, tuple(problems))


def _first_problem(
    source: LedgerSource,
    scan: Scan,
    compact_range: CompactRange,
    before: Checkpoint | None,
    checkpoints: Sequence[Checkpoint],
) -> Problem | None:
    """Why the entries do not match these checkpoints of one size; None if they match."""
    for checkpoint in checkpoints:
        if scan.read < checkpoint.size or compact_range.root() != checkpoint.root:
            return _locate_problem(source, scan, before, checkpoint)
    return None


def _locate_problem(source: LedgerSource, scan: Scan, before: Checkpoint | None, checkpoint: Checkpoint) -> Problem:
    after = before.size if before else 0
    first, last = first_changed(source, after, checkpoint.size, checkpoint.root)
    if scan.read < checkpoint.size and (first != last or first > scan.read):
        return _missing(scan, checkpoint)
    if first == last:
        return Problem(f"entry {first} is not what it was when {checkpoint} was made", first, first)
    since = f"since {before}" if before else "since the ledger began"
    where = f"one of the entries {first} to {last} was changed: nothing in them holds {since}, before {checkpoint}"
    return Problem(where, first, last)


def _missing(scan: Scan, checkpoint: Checkpoint) -> Problem:
    first = scan.read + 1
    if scan.misplaced:
        return Problem(scan.misplaced.problem, first, first)
    gone = f"the entries {first} to {checkpoint.size} are" if first < checkpoint.size else f"entry {first} is"
    return Problem(f"{gone} missing: {checkpoint} was made over them", first, first)
