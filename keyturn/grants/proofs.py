"""A proof that access was asked for and approved, which holds without the hub, the ledger and the catalogue.

It has the request as it was signed, each approver's signature, and for each the ledger's entry with a proof that it is
in the ledger. Whoever has the approvers' public keys and the ledger's needs nothing else.
"""

import base64
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from keyturn.core.errors import Invalid, NotFound, Rewritten
from keyturn.core.ledger import Outcome
from keyturn.grants.requests import APPROVE, AccessApproval, AccessRequest, approval_note, from_data
from keyturn.ledger.entries import Numbered, parse_leaf
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.proofs import Proof, check_proof, parse_members, prove_entry
from keyturn.ledger.signed_notes import PublicKey, Verify

MOST: Final = 20
"""Approvals that a proof may have."""


@dataclass(frozen=True)
class AccessProof:
    """That this request was approved as the entries tell, one for each of its approvals, in their order."""

    request: AccessRequest
    entries: tuple[Proof, ...]

    def to_json(self) -> str:
        """One object, indented for people."""
        entries = [json.loads(entry.to_json()) for entry in self.entries]
        return json.dumps({"request": asdict(self.request), "entries": entries}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "AccessProof":
        """The proof. Raises Invalid where it is none."""
        members = parse_members(text, {"request": dict, "entries": list})
        try:
            request = from_data(members["request"])
        except (TypeError, ValueError, AttributeError):
            raise Invalid("read", "a proof", "it holds no request", "Give the file as it was made") from None
        return cls(request, tuple(Proof.from_json(json.dumps(entry)) for entry in members["entries"]))


@dataclass(frozen=True)
class ProvenAccess:
    """What a proof proves: the request, who has approved it, and when the ledger was told of each."""

    request: AccessRequest
    approved_by: tuple[str, ...]
    recorded_at: tuple[datetime, ...]


def prove_access(ledger: StoredLedger, request: AccessRequest) -> AccessProof:
    """The proof for a request. Raises NotFound where the ledger, or a checkpoint, has not all of its approvals yet."""
    wanted = {approval_note(request, approval): number for number, approval in enumerate(request.approvals)}
    sequences: dict[int, int] = {}
    for sequence, leaf in ledger.leaves():
        # Most entries are none, and to parse one costs more than to look for its name.
        if request.id.encode() in leaf:
            entry = parse_leaf(leaf).entry
            if (entry.action, entry.outcome) == (APPROVE, Outcome.DONE) and entry.note in wanted:
                sequences[wanted[entry.note]] = sequence
    if not wanted or len(sequences) < len(wanted):
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
    if not len(request.approvals) == len(proof.entries) <= MOST:
        raise _broken("its approvals are not those of its entries")
    counted: dict[bytes, str] = {}
    moments = []
    for approval, entry in zip(request.approvals, proof.entries, strict=True):
        key = approvers.get(approval.approver, b"")
        if not _holds(request, approval, key, verify):
            raise _broken(f"the signature of {approval.approver} is not theirs over this request")
        counted[key] = approval.approver
        moments.append(_recorded(request, approval, check_proof(entry, keys, verify)))
    if len(counted) < max(1, request.needed):
        raise _broken(f"{len(counted)} have approved it, and {request.needed} have to")
    return ProvenAccess(request, tuple(counted.values()), tuple(moments))


def _holds(request: AccessRequest, approval: AccessApproval, key: bytes, verify: Verify) -> bool:
    with suppress(ValueError):
        return verify(key, request.message, base64.b64decode(approval.signature, validate=True))
    return False


def _recorded(request: AccessRequest, approval: AccessApproval, numbered: Numbered) -> datetime:
    """When the ledger was told of an approval, within the request's time. Raises Rewritten."""
    entry = numbered.entry
    if (entry.action, entry.outcome, entry.note) != (APPROVE, Outcome.DONE, approval_note(request, approval)):
        raise _broken(f"entry {numbered.sequence} tells of no such approval")
    return entry.time


def _broken(problem: str) -> Rewritten:
    return Rewritten("check", "a proof of access", problem, "Do not rely on it; ask for another one")
