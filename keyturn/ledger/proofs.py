"""Proofs without the ledger: of an entry, and of growth between checkpoints.

They are JSON: canonical bytes as text, base64 hashes and signed checkpoints.
"""

import base64
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from keyturn.core.errors import Invalid, NotFound, Rewritten
from keyturn.core.ports.ledger import Entry
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint, trusted
from keyturn.ledger.entries import Numbered, parse_leaf
from keyturn.ledger.merkle import (
    Nodes,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from keyturn.ledger.ports import LedgerSource, StoredLedger
from keyturn.ledger.signed_notes import PublicKey, Verify
from keyturn.ledger.storage.tiles import nodes_of

T = TypeVar("T")


@dataclass(frozen=True)
class Proof:
    """The proof that ``leaf`` is entry ``sequence`` of the ledger with this ``checkpoint``."""

    sequence: int
    leaf: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str

    def to_json(self) -> str:
        """One object, indented for people."""
        members: dict[str, Any] = {"sequence": self.sequence, "entry": self.leaf.decode(errors="replace")}
        members |= {"hashes": encoded_hashes(self.hashes), "checkpoint": self.checkpoint}
        return json.dumps(members, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Proof":
        """The proof. Raises Invalid for a malformed text."""
        members = parse_members(text, {"sequence": int, "entry": str, "hashes": list, "checkpoint": str})
        leaf = members["entry"].encode(errors="replace")
        return cls(members["sequence"], leaf, decoded_hashes(members["hashes"]), members["checkpoint"])


@dataclass(frozen=True)
class Growth:
    """The proof that the ledger at ``newer`` begins with its entries at ``older``."""

    older: str
    newer: str
    hashes: tuple[bytes, ...]

    def to_json(self) -> str:
        """One object, indented for people."""
        members = {"older": self.older, "newer": self.newer, "hashes": encoded_hashes(self.hashes)}
        return json.dumps(members, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Growth":
        """The proof. Raises Invalid for a malformed text."""
        members = parse_members(text, {"older": str, "newer": str, "hashes": list})
        return cls(members["older"], members["newer"], decoded_hashes(members["hashes"]))


def prove_entry(ledger: StoredLedger, sequence: int, checkpoint: str = "") -> Proof:
    """Return the proof of an entry in the newest or the given checkpoint, from tiles.

    Raises NotFound without the entry or a checkpoint over it, and Rewritten where the entry or tiles changed.
    """
    newest = _newest(checkpoint or ledger.newest(), sequence)
    leaf = _leaf(ledger, sequence)
    hashes = _from_tiles(ledger, lambda nodes: inclusion_proof(nodes, sequence - 1, newest.size))
    if not verify_inclusion(leaf_hash(leaf), sequence - 1, newest.size, hashes, newest.root):
        raise _changed(f"entry {sequence} is not what it was when {newest} was made")
    return Proof(sequence, leaf, tuple(hashes), newest.note)


def check_proof(proof: Proof, keys: Collection[PublicKey], verify: Verify) -> Numbered:
    """The proved entry. Raises Rewritten for an invalid proof, and Invalid for a malformed entry."""
    checkpoint = trusted(proof.checkpoint, keys, verify)
    if not verify_inclusion(leaf_hash(proof.leaf), proof.sequence - 1, checkpoint.size, proof.hashes, checkpoint.root):
        raise _broken(f"the entry is not among those of {checkpoint}")
    numbered = parse_leaf(proof.leaf)
    if numbered.sequence != proof.sequence:
        raise _broken(f"the entry says that it is number {numbered.sequence}")
    return numbered


def prove_growth(source: LedgerSource, older: str, newer: str) -> Growth:
    """The proof that one checkpoint continues another. Raises Rewritten for another history or changed tiles."""
    before, after = read_checkpoint(older), read_checkpoint(newer)
    if before.size > after.size:
        raise Invalid("prove", "growth", f"{before} covers more than {after}", "Give the older one first")
    hashes = _from_tiles(source, lambda nodes: consistency_proof(nodes, before.size, after.size))
    if not verify_consistency(before.size, after.size, before.root, after.root, hashes):
        raise _changed(f"{after} does not continue {before}")
    return Growth(older, newer, tuple(hashes))


def check_growth(growth: Growth, keys: Collection[PublicKey], verify: Verify) -> tuple[Checkpoint, Checkpoint]:
    """Both checkpoints, the older one first. Raises Rewritten for an invalid proof."""
    before, after = (trusted(note, keys, verify) for note in (growth.older, growth.newer))
    if before.origin != after.origin:
        raise _broken("the checkpoints are of two ledgers")
    if not verify_consistency(before.size, after.size, before.root, after.root, growth.hashes):
        raise _broken(f"{after} does not continue {before}")
    return before, after


def _newest(note: str, sequence: int) -> Checkpoint:
    newest = read_checkpoint(note) if note else None
    if newest is None or not 1 <= sequence <= newest.size:
        problem, hint = "no checkpoint is made over it", "Make one: keyturn ledger checkpoint"
        raise NotFound("prove", f"entry {sequence}", problem, hint)
    return newest


def _leaf(ledger: StoredLedger, sequence: int) -> bytes:
    for _, leaf in ledger.leaves(sequence, sequence):
        return leaf
    raise _changed(f"entry {sequence} is missing")


def _from_tiles(source: LedgerSource, make: Callable[[Nodes], list[bytes]]) -> list[bytes]:
    try:
        return make(nodes_of(source.tile))
    except LookupError:
        raise _changed("tiles are missing") from None


def _changed(problem: str) -> Rewritten:
    return Rewritten("make", "a proof", problem, "Verify the ledger: keyturn ledger verify says where it was changed")


def _broken(problem: str) -> Rewritten:
    return Rewritten("check", "a proof", problem, "Do not rely on it; ask for another one")


def parse_members(text: str, kinds: dict[str, type]) -> dict[str, Any]:
    """The members of a proof, with these types. Raises Invalid."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict) or any(type(members.get(key)) is not kind for key, kind in kinds.items()):
        raise Invalid("read", "a proof", f"it does not state {', '.join(kinds)}", "Give the file as it was made")
    return members


def bundle_text(subject: str, content: Mapping[str, Any], entries: Sequence[Proof]) -> str:
    """The proved content and its entries' proofs, as indented JSON."""
    return json.dumps({subject: content, "entries": [json.loads(entry.to_json()) for entry in entries]}, indent=2)


def read_bundle(text: str, subject: str, read: Callable[[dict[str, Any]], T]) -> tuple[T, tuple[Proof, ...]]:
    """The reverse of :func:`bundle_text`. Raises Invalid, also where ``read`` rejects the content."""
    members = parse_members(text, {subject: dict, "entries": list})
    try:
        content = read(members[subject])
    except (TypeError, ValueError, AttributeError):
        raise Invalid("read", "a proof", f"it holds no {subject}", "Give the file as it was made") from None
    return content, tuple(Proof.from_json(json.dumps(entry)) for entry in members["entries"])


def entries_naming(ledger: StoredLedger, name: str) -> Iterator[tuple[int, Entry]]:
    """The numbered entries with a name in their text. Searching is cheaper than parsing all."""
    for sequence, leaf in ledger.leaves():
        if name.encode() in leaf:
            yield sequence, parse_leaf(leaf).entry


def encoded_hashes(hashes: Sequence[bytes]) -> list[str]:
    """Base64, as in a proof."""
    return [base64.b64encode(value).decode() for value in hashes]


def decoded_hashes(texts: Sequence[Any]) -> tuple[bytes, ...]:
    """The reverse. Raises Invalid."""
    try:
        return tuple(base64.b64decode(text, validate=True) for text in texts)
    except (ValueError, TypeError):
        raise Invalid("read", "a proof", "a hash of it is not base64", "Give the file as it was made") from None
