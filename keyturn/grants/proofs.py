"""A proof of approved access that can be checked without the hub, the ledger and the catalogue.

It contains the signed request, the signatures, and the ledger's entries with inclusion proofs. The check requires the
public keys of the approvers and the ledger. Without approvals, the entries are those of the request and its review.
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
"""The file's member with the request."""

MOST: Final = 20
"""Maximum approvals in a proof."""


@dataclass(frozen=True)
class AccessProof:
    """A request with its :func:`happenings` in the ledger, in order."""

    request: AccessRequest
    entries: tuple[Proof, ...]

    def to_json(self) -> str:
        """The proof as indented JSON."""
        return bundle_text(SUBJECT, asdict(self.request), self.entries)

    @classmethod
    def from_json(cls, text: str) -> "AccessProof":
        """Parse a proof. Raises Invalid if it is malformed."""
        return cls(*read_bundle(text, SUBJECT, from_data))


@dataclass(frozen=True)
class ProvenAccess:
    """The result of a checked proof: the request, and its signers.

    ``recorded_at`` has the ledger's time for each of the ``steps``. ``approved_by`` is empty if no approval was
    required.
    """

    request: AccessRequest
    approved_by: tuple[str, ...]
    recorded_at: tuple[datetime, ...]
    reviewed_by: str = ""

    @property
    def steps(self) -> list[str]:
        """The recorded steps, in words."""
        first = [f"approved by {approval.approver}" for approval in self.request.approvals]
        if self.request.break_glass:
            first = ["given without approval, the glass broken", *first]
        elif not first:
            first = [f"requested, and the policy needs no approval: {self.request.policy}"]
        return [*first, *([f"reviewed by {self.reviewed_by}"] if self.reviewed_by else [])]


def happenings(request: AccessRequest) -> list[tuple[str, str]]:
    """The actions and notes that the ledger has to contain."""
    first = [(APPROVE, approval_note(request, approval)) for approval in request.approvals]
    if request.break_glass:
        first = [(BREAK, glass_note(request)), *first]
    elif not first:
        first = [(ASK, asking_note(request))]
    return [*first, *([(REVIEW, review_note(request, request.review))] if request.review else [])]


def prove_access(ledger: StoredLedger, request: AccessRequest) -> AccessProof:
    """Build the proof. Raises NotFound if the ledger or a checkpoint lacks an entry."""
    wanted = {happening: number for number, happening in enumerate(happenings(request))}
    sequences: dict[int, int] = {}
    for sequence, entry in entries_naming(ledger, request.id):
        if entry.outcome == Outcome.DONE and (entry.action, entry.note) in wanted:
            sequences.setdefault(wanted[entry.action, entry.note], sequence)
    if len(sequences) < len(wanted) or len(request.approvals) < request.needed:
        hint = "Approvers and this command have to use the same ledger (KEYTURN_LEDGER)"
        raise NotFound("prove", request.id, "the ledger does not have all of its approvals", hint)
    return AccessProof(request, tuple(prove_entry(ledger, sequences[number]) for number in sorted(sequences)))


def check_access(
    proof: AccessProof, approvers: Mapping[str, bytes], keys: Collection[PublicKey], verify: Verify
) -> ProvenAccess:
    """Check a proof with the public keys of the approvers (32 bytes each) and the ledger.

    Raises Rewritten if the proof does not hold, Invalid for a malformed entry.
    """
    request = proof.request
    expected = happenings(request) if len(request.approvals) <= MOST else []
    if not 0 < len(expected) == len(proof.entries):
        raise _broken("its entries do not match it")
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
    """The public key of the signer. Raises Rewritten for a wrong signature."""
    key = keys.get(name, b"")
    with suppress(ValueError):
        if verify(key, message, base64.b64decode(signature, validate=True)):
            return key
    raise _broken(f"the signature of {name} is not theirs over this request")


def _recorded(happening: tuple[str, str], numbered: Numbered) -> datetime:
    """The time of a ledger entry. Raises Rewritten for a different one."""
    entry = numbered.entry
    if (entry.action, entry.note) != happening or entry.outcome != Outcome.DONE:
        raise _broken(f"entry {numbered.sequence} is about no such {happening[0]}")
    return entry.time


def _broken(problem: str) -> Rewritten:
    return Rewritten("check", "a proof of access", problem, "Do not rely on it; ask for another one")
