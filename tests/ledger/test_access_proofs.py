"""Access proofs verify with public keys, for exactly the approved request."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.core.errors import NotFound, Rewritten
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.proofs import AccessProof, check_access, happenings, prove_access
from keyturn.grants.requests import APPROVE, approval_note
from keyturn.grants.reviews import review_message
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.rotation.signers import Approval, Review
from tests.ledger.conftest import Make
from tests.ledger.entries import entries
from tests.ledger.keys import Key

AT = "2026-11-27T12:00:00+00:00"
REQUEST = AccessRequest(
    "AR-3f9a1c07d2e4", "ml/database", 3600, "a query hangs", "OPS-1", "ml", "d" * 64, 2, "e-ana", "ana", AT, AT, "n"
)
PRIVATE = {name: Ed25519PrivateKey.generate() for name in ("bea", "cleo")}
PUBLIC = {name: key.public_key().public_bytes_raw() for name, key in PRIVATE.items()}


def approval(name: str, request: AccessRequest = REQUEST) -> Approval:
    return Approval(name, AT, base64.b64encode(PRIVATE[name].sign(request.message)).decode())


def record(ledger: SqliteLedger, request: AccessRequest) -> None:
    """What the ledger is told of a request's approvals."""
    at = datetime(2026, 11, 27, 12, tzinfo=UTC)
    notes = [approval_note(request, each) for each in request.approvals]
    ledger.append([Entry(at, "bea", APPROVE, Outcome.DONE, request.path, note=note) for note in notes])


@pytest.fixture
def proof(ledger: SqliteLedger, make: Make) -> AccessProof:
    """Of a request that two have approved."""
    request = replace(REQUEST, approvals=(approval("bea"), approval("cleo")))
    ledger.append(entries(3))
    record(ledger, request)
    assert make()
    return AccessProof.from_json(prove_access(ledger, request).to_json())


def test_it_holds_with_public_keys_alone(proof: AccessProof, key: Key) -> None:
    proven = check_access(proof, PUBLIC, [key.public()], verify_ed25519)
    assert (proven.request.digest, proven.approved_by) == (REQUEST.digest, ("bea", "cleo"))


@pytest.mark.attack
def test_nothing_else_is_proved_by_it(proof: AccessProof, key: Key) -> None:
    first, second = proof.request.approvals
    forged = [
        replace(proof, request=replace(proof.request, seconds=86_400)),
        replace(proof, request=replace(proof.request, needed=1)),
        replace(proof, request=replace(proof.request, approvals=(first, first))),
        replace(proof, request=replace(proof.request, approvals=(first, replace(second, approver="bea")))),
        replace(proof, request=replace(proof.request, approvals=(first,)), entries=proof.entries[:1]),
        replace(proof, request=replace(proof.request, approvals=()), entries=()),
        replace(proof, entries=(proof.entries[0], proof.entries[0])),
        replace(proof, entries=(proof.entries[0], replace(proof.entries[1], sequence=1))),
    ]
    for other in forged:
        with pytest.raises(Rewritten):
            check_access(other, PUBLIC, [key.public()], verify_ed25519)
    for keys, believed in (({"bea": PUBLIC["bea"]}, key), (PUBLIC, Key())):
        with pytest.raises(Rewritten):
            check_access(proof, keys, [believed.public()], verify_ed25519)


BROKEN = replace(REQUEST, needed=0, break_glass=True)


def review(name: str, request: AccessRequest = BROKEN, finding: str = "nothing odd") -> Review:
    signature = PRIVATE[name].sign(review_message(request, name, AT, finding))
    return Review(name, AT, finding, base64.b64encode(signature).decode())


def record_happenings(ledger: SqliteLedger, request: AccessRequest) -> None:
    """What the ledger is told of a request that nobody approved."""
    at = datetime(2026, 11, 27, 12, tzinfo=UTC)
    ledger.append([Entry(at, "ana", what, Outcome.DONE, note=note) for what, note in happenings(request)])


def test_a_broken_glass_and_its_review_are_proved(ledger: SqliteLedger, make: Make, key: Key) -> None:
    request = replace(BROKEN, review=review("bea"))
    record_happenings(ledger, request)
    assert make()
    proof = AccessProof.from_json(prove_access(ledger, request).to_json())
    proven = check_access(proof, PUBLIC, [key.public()], verify_ed25519)
    assert (proven.approved_by, proven.reviewed_by) == ((), "bea")
    assert proven.steps == ["given without approval, the glass broken", "reviewed by bea"]
    changed: list[dict[str, Any]] = [
        {"break_glass": False},
        {"needed": 1},
        {"review": review("cleo")},
        {"review": replace(review("bea"), finding="all odd")},
        {"review": None},
    ]
    for changes in changed:
        other = replace(proof, request=replace(request, **changes))
        with pytest.raises(Rewritten):
            check_access(other, PUBLIC, [key.public()], verify_ed25519)


def test_what_nobody_had_to_approve_is_proved_as_that(ledger: SqliteLedger, make: Make, key: Key) -> None:
    request = replace(REQUEST, needed=0)
    record_happenings(ledger, request)
    assert make()
    proven = check_access(prove_access(ledger, request), PUBLIC, [key.public()], verify_ed25519)
    assert proven.steps == ["requested, and the policy needs no approval: ml"]


def test_what_the_ledger_does_not_tell_is_not_proved(ledger: SqliteLedger, make: Make) -> None:
    request = replace(REQUEST, approvals=(approval("bea"), approval("cleo")))
    record(ledger, replace(request, approvals=request.approvals[:1]))
    assert make()
    with pytest.raises(NotFound, match="does not have all of its approvals"):
        prove_access(ledger, request)
