"""Whether it is known who asks for something, and signatures of the people whom the operator's file names.

A login says which person it is only where the operator declares its auth method as people's. A program's login is
nobody's: whoever asks through it may be any of the approvers, so two of them have to sign.
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
"""Characters of what a reviewer has found: all of it is in the ledger."""


@dataclass(frozen=True)
class Approval:
    """One approver's signature, in base64."""

    approver: str
    at: str
    signature: str


@dataclass(frozen=True)
class Review:
    """What a reviewer has found of something that was done without an approval, and their signature, in base64."""

    reviewer: str
    at: str
    finding: str
    signature: str


def canonical(data: Any) -> bytes:
    """The one spelling of JSON-ready data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def is_known(workspace: Workspace, identity: Identity) -> bool:
    """Whether the login says which person asks. It never does for what Prefect runs, or an alert starts."""
    process = acting.get()
    by_others = process is not None and process.by_others
    return not by_others and workspace.approvals.knows(identity.entity_id, identity.login)


def find_approver(workspace: Workspace, identity: Identity) -> tuple[str, ApproverSettings]:
    """Who is logged in, as the operator's file names them. Raises Denied."""
    for name, who in workspace.approvals.approvers.items():
        if identity.entity_id and who.entity == identity.entity_id:
            return name, who
    hint = "The operator's file names them under approvals, by their entities in the hub"
    raise Denied("approve", "requests", f"{identity.name} is not among the approvers", hint)


def signer_at_work(workspace: Workspace, key: Signer | None = None) -> tuple[str, ApproverSettings, Signer]:
    """Who signs, as the operator's file names them, and with what.

    ``key`` is one that they keep themselves; without it they sign with theirs in the hub, in a login of their own.
    Raises Denied for a program's login, for anyone that the file does not name, and for another key than theirs.
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
    """Why a signature does not count; empty where it does. ``asker`` is the entity that the message is about."""
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
    """The approvals that count, one of each approver, and what is wrong with the others."""
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
    """SHA-256, in hexadecimal digits, of what a reviewer says."""
    return hashlib.sha256(canonical([reviewer, at, finding])).hexdigest()


def insist_on_finding(name: str, finding: str, option: str) -> None:
    """Raises Invalid for no finding, and for one that is no line."""
    if not finding or len(finding) > LONGEST_FINDING or not finding.isprintable():
        problem = "nothing is found" if not finding else f"the finding is no line of {LONGEST_FINDING} characters"
        raise Invalid("review", name, problem, f"Say with {option} what you have seen")
