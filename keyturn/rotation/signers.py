"""Whether the requester is known, and signatures by the people in the operator's file.

Only auth methods that the operator declares as people's identify a person. Otherwise two approvers have to sign.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from keyturn.catalogue.operator.approvals import ApproverSettings
from keyturn.core.actor import acting
from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.hub import Identity
from keyturn.core.ports.ledger import Signer
from keyturn.rotation.state.context import Workspace

LONGEST_FINDING: Final = 500
"""Maximum characters of a reviewer's finding: the ledger contains all of it."""


@dataclass(frozen=True)
class Approval:
    """One approver's signature, in base64."""

    approver: str
    at: str
    signature: str


@dataclass(frozen=True)
class Review:
    """A reviewer's finding on an action without approval, and their signature, in base64."""

    reviewer: str
    at: str
    finding: str
    signature: str


def canonical(data: Any) -> bytes:
    """The canonical JSON of the data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def is_known(workspace: Workspace, identity: Identity) -> bool:
    """Whether the login identifies the person. Never for Prefect runs and alerts."""
    process = acting.get()
    by_others = process is not None and process.by_others
    return not by_others and workspace.approvals.knows(identity.entity_id, identity.login)


def find_approver(workspace: Workspace, identity: Identity) -> tuple[str, ApproverSettings]:
    """The approver who is logged in, by the operator's file. Raises Denied."""
    for name, who in workspace.approvals.approvers.items():
        if identity.entity_id and who.entity == identity.entity_id:
            return name, who
    hint = "The operator's file names them under approvals, by their entities in the hub"
    raise Denied("approve", "requests", f"{identity.name} is not among the approvers", hint)


def signer_at_work(workspace: Workspace, key: Signer | None = None) -> tuple[str, ApproverSettings, Signer]:
    """The signer by the operator's file, and the key.

    ``key`` is the signer's own; without it, the signer's key in the hub is used, with a personal login. Raises Denied
    for a program's login, an unknown person and a wrong key.
    """
    if key is not None:
        for name, who in workspace.approvals.approvers.items():
            if base64.b64decode(who.public_key) == key.public_key():
                return name, who, key
        raise Denied("sign", "a request", "the key is no approver's", "The operator's file names their public keys")
    identity = workspace.hub.identity()
    name, who = find_approver(workspace, identity)
    if not workspace.approvals.is_persons(identity.login):
        problem = f"this login was made at {identity.login or 'no auth method'}, which is not one of people's"
        hint = "Log in yourself (`keyturn login`) by a method that the operator's file names under approvals.people,"
        raise Denied("sign", "a request", problem, f"{hint} or sign with a key of your own: --key-file FILE")
    if who.key is None:
        raise Invalid("sign", "a request", f"{name} has no key in the hub", "Sign with --key-file FILE")
    signer = workspace.hub.signer(who.key)
    if signer.public_key() != base64.b64decode(who.public_key):
        problem = f"the hub's key {who.key} is not the one that the operator's file names"
        raise Denied("sign", "a request", problem, "Let the operator correct the file, or the key")
    return name, who, signer


def sign_text(signer: Signer, message: bytes) -> str:
    """The signature, in base64."""
    return base64.b64encode(signer.sign(message)).decode()


def signature_flaw(workspace: Workspace, name: str, asker: str, message: bytes, signature: str) -> str:
    """Why a signature does not count; empty where it does. ``asker`` is the entity in the message."""
    who = workspace.approvals.approvers.get(name)
    if who is None:
        return f"{name!r} is not among the approvers of the operator's file"
    if who.entity == asker:
        return f"{name} can't sign for themselves"
    with suppress(ValueError):
        raw = base64.b64decode(signature, validate=True)
        if workspace.verify_signature(base64.b64decode(who.public_key), message, raw):
            return ""
    return f"the signature of {name} is not over this request"


def count_approvals(
    workspace: Workspace, asker: str, message: bytes, approvals: Iterable[Approval]
) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    """The valid approvals, one for each approver, and the flaws of the others."""
    valid: dict[str, Approval] = {}
    problems = []
    for approval in approvals:
        flaw = signature_flaw(workspace, approval.approver, asker, message, approval.signature)
        if not flaw and approval.approver in valid:
            flaw = f"{approval.approver} has signed it twice"
        if flaw:
            problems.append(flaw)
        else:
            valid[approval.approver] = approval
    return tuple(valid.values()), tuple(problems)


def review_content(reviewer: str, at: str, finding: str) -> str:
    """SHA-256 of a review, in hexadecimal digits."""
    return hashlib.sha256(canonical([reviewer, at, finding])).hexdigest()


def insist_on_finding(name: str, finding: str, option: str) -> None:
    """Raises Invalid for a finding that is empty, too long or not one line."""
    if not finding or len(finding) > LONGEST_FINDING or not finding.isprintable():
        problem = "nothing is found" if not finding else f"the finding is no line of {LONGEST_FINDING} characters"
        raise Invalid("review", name, problem, f"Say with {option} what you have seen")
