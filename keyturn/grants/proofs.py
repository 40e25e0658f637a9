"""A proof that access was asked for and approved, which holds without the hub, the ledger and the catalogue.

It has the request as it was signed, each approver's signature, and for each the ledger's entry with a proof that it is
in the ledger. Whoever has the approvers' public keys and the ledger's needs nothing else. Where nobody had to approve
it, the entry is that of the request, or of the broken glass, and of who has reviewed it since.
"""

import base64
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from keyturn.core.errors import NotFound, Rewritten
from keyturn.core.ports.ledger import Outcome
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.requests import APPROVE, ASK, BREAK, approval_note, asking_note, from_data, glass_note
from keyturn.grants.reviews import REVIEW, review_message, review_note
from keyturn.ledger.entries import Numbered
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.proofs import Proof, bundle_text, check_proof, entries_naming, prove_entry, read_bundle
from keyturn.ledger.signed_notes import PublicKey, Verify

SUBJECT: Final = "request"
"""The member of the file that tells of it."""

MOST: Final = 20
"""Approvals that a proof may have."""


@dataclass(frozen=True)
class AccessProof:
    """That this request was approved as the entries tell: those of :func:`happenings`, in their order."""

    request: AccessRequest
    entries: tuple[Proof, ...]

    def to_json(self) -> str:
        """One object, indented for people."""
        return bundle_text(SUBJECT, asdict(self.request), self.entries)

    @classmethod
    def from_json(cls, text: str) -> "AccessProof":
        """The proof. Raises Invalid where it is none."""
        return cls(*read_bundle(text, SUBJECT, from_data))


@dataclass(frozen=True)
class ProvenAccess:
    """What a proof proves: the request, and who has signed what for it.

    ``recorded_at`` is when the ledger was told of each of its ``steps``. Nobody has approved it where its policy asked
    for nobody, or ``request.break_glass`` is set.
    """

    request: AccessRequest
    approved_by: tuple[str, ...]
    recorded_at: tuple[datetime, ...]
    reviewed_by: str = ""

    @property
    def steps(self) -> list[str]:
        """What the ledger was told of, in words."""
        first = [f"approved by {approval.approver}" for approval in self.request.approvals]
        if self.request.break_glass:
            first = ["given without approval, the glass broken", *first]
        elif not first:
            first = [f"asked for, and nobody had to approve it by the policy {self.request.policy}"]
        return [*first, *([f"reviewed by {self.reviewed_by}"] if self.reviewed_by else [])]


def happenings(request: AccessRequest) -> list[tuple[str, str]]:
    """What the ledger has to tell of it: the actions, and their notes."""
    first = [(APPROVE, approval_note(request, approval)) for approval in request.approvals]
    if request.break_glass:
        first = [(BREAK, glass_note(request)), *first]
    elif not first:
        first = [(ASK, asking_note(request))]
    return [*first, *([(REVIEW, review_note(request, request.review))] if request.review else [])]


def prove_access(ledger: StoredLedger, request: AccessRequest) -> AccessProof:
    """The proof for a request. Raises NotFound where the ledger, or a checkpoint, does not tell of all of it yet."""
    wanted = {happening: number for number, happening in enumerate(happenings(request))}
    sequences: dict[int, int] = {}
    for sequence, entry in entries_naming(ledger, request.id):
        if entry.outcome == Outcome.DONE and (entry.action, entry.note) in wanted:
            sequences.setdefault(wanted[entry.action, entry.note], sequence)
    if len(sequences) < len(wanted) or len(request.approvals) < request.needed:
        hint = "Approvers and this command have to use the same ledger (KEYTURN_LEDGER)"
        raise NotFound("prove", request.id, "the ledger does not tell of all of its approvals", hint)
    return AccessProof(request, tuple(prove_entry(ledger, sequences[number]) for number in sorted(sequences)))


def check_access(
    proof: AccessProof, approvers: Mapping[str, bytes], keys: Collection[PublicKey], verify: Verify
) -> ProvenAccess:
    """What is proved, by the approvers' public keys (32 bytes each, by name) and the ledger's.

    Raises Rewritten where the proof does not hold, and Invalid for what is no entry.
    """
    request = proof.request
    expected = happenings(request) if len(request.approvals) <= MOST else []
    if not 0 < len(expected) == len(proof.entries):
        raise _broken("what its entries tell is not what it says")
    counted = {
        _key(approval.approver, approval.signature, request.message, approvers, verify): approval.approver
        for approval in request.approvals
    }
    if len(counted) < request.needed:
        raise _broken(f"{len(counted)} have approved it, and {request.needed} have to")
    if review := request.review:
        message = review_message(request, review.reviewer, review.at, review.finding)
        _key(review.reviewer, review.signature, message, approvers, verify)
    moments = [
        _recorded(happening, check_proof(entry, keys, verify))
        for happening, entry in zip(expected, proof.entries, strict=True)
    ]
    return ProvenAccess(request, tuple(counted.values()), tuple(moments), review.reviewer if review else "")


def _key(name: str, signature: str, message: bytes, keys: Mapping[str, bytes], verify: Verify) -> bytes:
    """The public key of whoever has signed that. Raises Rewritten where it is not theirs."""
    key = keys.get(name, b"")
    with suppress(ValueError):
        if verify(key, message, base64.b64decode(signature, validate=True)):
            return key
    raise _broken(f"the signature of {name} is not theirs over this request")


def _recorded(happening: tuple[str, str], numbered: Numbered) -> datetime:
    """When the ledger was told of something. Raises Rewritten where the entry tells of something else."""
    entry = numbered.entry
    if (entry.action, entry.note) != happening or entry.outcome != Outcome.DONE:
        raise _broken(f"entry {numbered.sequence} tells of no such {happening[0]}")
    return entry.time


def _broken(problem: str) -> Rewritten:
    return Rewritten("check", "a proof of access", problem, "Do not rely on it; ask for another one")
