"""Agreements to share a secret, signed and withdrawn by people of each side in their own hub and ledger.

The receiver signs the terms of the giver's signed file. The giver reads that signature in the receiver's hub, with the
login that writes the copy.
"""

import json
import secrets
from dataclasses import asdict, replace

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.rotation.signers import find_approver, sign_text, signer_at_work
from keyturn.rotation.state.agreements import (
    COUNTERPART,
    Agreement,
    agreement_refusal,
    find_agreement,
    flaw_of,
    own_keys,
    partner_keys,
    partners_with,
    read_counterpart,
)
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import update_state
from keyturn.rotation.state.journal import record_action

PROPOSE, ACCEPT, WITHDRAW = "propose to share", "agree to share", "withdraw sharing"
"""The ledger's names for these actions."""


def own_name(workspace: Workspace) -> str:
    """This organisation's name. Raises Invalid where the operator's file has none."""
    if name := workspace.catalogue.policy.organisation:
        return name
    remedy = "Let the operator write organisation and partners there"
    raise Invalid("share", "a secret", "the operator's file names no organisation", remedy)


def propose_sharing(workspace: Workspace, path: str, receiver: str, purpose: str, until: str) -> Agreement:
    """Sign as an approver that another organisation has a copy of a secret.

    Raises Denied for any other login, NotFound without such a copy in the catalogue.
    """
    giver, place = own_name(workspace), shared_place(workspace, path, receiver)
    now = workspace.hub_now().isoformat()
    wanted = Agreement(giver, receiver, path, place.name, purpose, until, now, secrets.token_hex(16))
    return keep_signed(workspace, PROPOSE, wanted, receiver)


def shared_place(workspace: Workspace, path: str, receiver: str) -> Destination:
    """An organisation's only copy of a secret by the catalogue. Raises NotFound, Invalid."""
    partner_keys(workspace, receiver)
    shared = partners_with(workspace.catalogue, workspace.secret(path).path)
    places = [place for place in shared.get(receiver, []) if isinstance(place, Destination)]
    if not places:
        hint = f"Declare a store in {receiver}'s part of a hub, and the copy among the secret's destinations"
        raise NotFound("share", path, f"the catalogue pushes it to no store of {receiver}", hint)
    if len(places) > 1:
        raise Invalid("share", path, f"{receiver} has {len(places)} copies of it", "Declare one of them")
    return places[0]


def accept_sharing(workspace: Workspace, proposal: Agreement) -> Agreement:
    """Sign another organisation's signed proposal as an approver.

    Raises Denied for any other login, and Invalid for another receiver or a wrong signature.
    """
    own, keys = own_name(workspace), partner_keys(workspace, proposal.giver)
    if proposal.receiver != own:
        raise Invalid("accept", proposal.id, f"it is for {proposal.receiver}, and this is {own}", "Give it to them")
    if flaw := flaw_of(proposal.giver, proposal.side(), proposal, keys, workspace.verify_signature):
        raise Invalid("accept", proposal.id, flaw, "Ask for another one")
    return keep_signed(workspace, ACCEPT, proposal.side(), proposal.giver, proposal)


def keep_signed(
    workspace: Workspace,
    action: str,
    wanted: Agreement,
    other: str,
    counterpart: Agreement | None = None,
) -> Agreement:
    """Sign as an approver, and store that with the other side's agreement. Raises Denied."""
    own, (approver, _, signer) = own_name(workspace), signer_at_work(workspace)
    with record_action(workspace, action, wanted.path, place=other, note=f"{wanted.id}: {wanted.words}") as doing:
        signature = sign_text(signer, wanted.message(own))
        signed = replace(wanted, signer=approver, signature=signature, signed_at=workspace.hub_now().isoformat())
        write_agreement(workspace, signed.place(other), signed, counterpart)
        doing.note = signing_note(wanted, approver, signature)
    return signed


def signing_note(agreement: Agreement, signer: str, signature: str) -> str:
    """The ledger's note for a signature."""
    return f"{agreement.id}: by {signer}, digest {agreement.digest}, signature {signature}"


def withdraw_sharing(workspace: Workspace, name: str, because: str) -> Agreement:
    """Withdraw this organisation's signature as an approver. Withdrawn before is success."""
    approver, _ = find_approver(workspace, workspace.hub.identity())
    place, agreement = find_agreement(workspace, name)
    at = workspace.hub_now().isoformat()
    over = replace(agreement, ended_by=approver, ended_at=at, because=because)
    with record_action(workspace, WITHDRAW, agreement.path, place=place.split("/")[1], note=f"{name}: {because}"):
        if agreement.ended_by:
            return agreement
        return write_agreement(workspace, place, over, read_counterpart(workspace.hub, place))


def write_agreement(
    workspace: Workspace, place: str, agreement: Agreement, counterpart: Agreement | None = None
) -> Agreement:
    """Store an agreement over any earlier entry."""
    theirs = {COUNTERPART: json.dumps(asdict(counterpart))} if counterpart else {}

    def load() -> tuple[Agreement | None, int]:
        state = workspace.hub.read_state(place)
        return None, state.version if state else 0

    def to_data(current: Agreement | None) -> dict[str, str]:
        return {"agreement": json.dumps(asdict(current or agreement)), **theirs}

    return update_state(workspace, place, load, lambda _: agreement, to_data) or agreement


def describe_agreement(workspace: Workspace, agreement: Agreement) -> str:
    """The agreement's state: for the giver both signatures, for the receiver its own."""
    own = own_name(workspace)
    if agreement.giver != own:
        flaw = flaw_of(own, agreement.side(), agreement, own_keys(workspace), workspace.verify_signature)
        return flaw or "signed here"
    try:
        place = shared_place(workspace, agreement.path, agreement.receiver)
        refusal = agreement_refusal(workspace, agreement.path, place.store, place.name)
    except KeyturnError as error:
        return f"unknown: {error.problem}"
    return refusal.why if refusal else "in force"
