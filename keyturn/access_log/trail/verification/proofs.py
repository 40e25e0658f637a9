"""Proofs that an event is in the trail, verifiable with only the public key.

A proof links the event to its segment's root, and the segment's ledger entry to a signed checkpoint.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from keyturn.access_log.trail.leaves import decode_leaf, encode_leaves
from keyturn.access_log.trail.parquet import read_segment
from keyturn.access_log.trail.segments import ACTION, EventName, SegmentEntry, parse_note
from keyturn.access_log.trail.verification.chain import entries_by_number
from keyturn.core.errors import NotFound, Rewritten
from keyturn.core.ports.access_source import SourceRecord
from keyturn.core.ports.ledger import Outcome
from keyturn.ledger.entries import Numbered
from keyturn.ledger.merkle import CompactRange, Nodes, hashes_above, inclusion_proof, leaf_hashes, verify_inclusion
from keyturn.ledger.merkle import leaf_hash as hash_of
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.proofs import Proof, check_proof, decoded_hashes, encoded_hashes, parse_members, prove_entry
from keyturn.ledger.signed_notes import PublicKey, Verify


@dataclass(frozen=True)
class EventProof:
    """A proof that ``leaf`` is the named event in the segment of ``entry``."""

    name: EventName
    leaf: bytes
    hashes: tuple[bytes, ...]
    entry: Proof

    def to_json(self) -> str:
        """Return it as indented JSON."""
        members = {
            "name": str(self.name),
            "event": self.leaf.decode(),
            "hashes": encoded_hashes(self.hashes),
            "segment": json.loads(self.entry.to_json()),
        }
        return json.dumps(members, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "EventProof":
        """Parse a proof. Raises Invalid."""
        members = parse_members(text, {"name": str, "event": str, "hashes": list, "segment": dict})
        entry = Proof.from_json(json.dumps(members["segment"]))
        leaf = members["event"].encode(errors="replace")
        return cls(EventName.parse(members["name"]), leaf, decoded_hashes(members["hashes"]), entry)


@dataclass(frozen=True)
class ProvenEvent:
    """A proved event, its segment and ledger entry."""

    record: SourceRecord
    segment: SegmentEntry
    entry: Numbered


def prove_events(directory: Path, ledger: StoredLedger, names: Iterable[EventName]) -> Iterator[EventProof]:
    """Prove each event, reading each segment once.

    Raises NotFound for an unknown event or without a checkpoint, Rewritten where trail or ledger were changed.
    """
    ordered = sorted(set(names), key=lambda name: (name.source, name.segment, name.leaf))
    entries = entries_by_number(ledger)
    for (source, number), several in groupby(ordered, key=lambda name: (name.source, name.segment)):
        wanted = list(several)
        entry = entries.get((source, number))
        if entry is None:
            hint = "It is sealed within a minute; give the name as `keyturn trail events` shows it"
            raise NotFound("prove", f"the event {wanted[0]}", "the ledger records no such segment", hint)
        yield from _of_segment(directory, ledger, entry, wanted)


def _of_segment(
    directory: Path, ledger: StoredLedger, entry: SegmentEntry, names: Sequence[EventName]
) -> Iterator[EventProof]:
    leaves = encode_leaves(read_segment(directory, entry.source, entry.number))
    nodes, root = tree_of(leaf_hashes(leaves))
    if root.hex() != entry.root or len(leaves) != entry.records:
        hint = "Verify the trail: keyturn trail verify says where it was changed"
        raise Rewritten("make", "a proof", f"the events of {entry} are not those that were sealed", hint)
    proof = prove_entry(ledger, entry.entry)
    for name in names:
        if name.leaf >= len(leaves):
            hint = f"The segment has the events 0 to {len(leaves) - 1}"
            raise NotFound("prove", f"the event {name}", "its segment has no such event", hint)
        hashes = inclusion_proof(nodes, name.leaf, len(leaves))
        yield EventProof(name, leaves[name.leaf], tuple(hashes), proof)


def tree_of(hashes: Sequence[bytes]) -> tuple[Nodes, bytes]:
    """A tree's complete subtrees for ``keyturn.ledger.merkle``, and its root."""
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        levels.append(hashes_above(levels[-1]))
    compact_range = CompactRange()
    compact_range.extend(hashes)
    return lambda level, index: levels[level][index], compact_range.root()


def check_event(proof: EventProof, keys: Collection[PublicKey], verify: Verify) -> ProvenEvent:
    """Verify a proof. Raises Rewritten, and Invalid for malformed contents."""
    numbered = check_proof(proof.entry, keys, verify)
    entry = numbered.entry
    if entry.action != ACTION or entry.outcome is not Outcome.DONE:
        raise _broken(f"entry {numbered.sequence} is about no segment of an access trail")
    segment = parse_note(numbered.sequence, entry.place, entry.host, entry.time, entry.note)
    if (proof.name.source, proof.name.segment) != (segment.source, segment.number):
        raise _broken(f"the event is named {proof.name}, and the entry is of {segment}")
    root, leaf = _root_of(segment), hash_of(proof.leaf)
    if not verify_inclusion(leaf, proof.name.leaf, segment.records, proof.hashes, root):
        raise _broken(f"the event is not among those of {segment}")
    return ProvenEvent(decode_leaf(proof.leaf), segment, numbered)


def _root_of(segment: SegmentEntry) -> bytes:
    try:
        return bytes.fromhex(segment.root)
    except ValueError:
        return b""


def _broken(problem: str) -> Rewritten:
    return Rewritten("check", "a proof", problem, "Do not rely on it; ask for another one")
