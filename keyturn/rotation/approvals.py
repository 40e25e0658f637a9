"""A second person's word, where the site asks for one: asked for in the hub, signed by them, good for one use.

What is signed is the digest of the exact request: what, about which secrets, why, who asks, until when. The signature
is verified with the public key that the operator's file names, so neither the hub's state nor who can write there can
approve anything. Whoever asks can't be who approves: their entities in the hub are compared, and the asker's is told
by the hub at the moment of the deed.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from keyturn.catalogue.approvals import ApproverSettings
from keyturn.core.acting import past_rules
from keyturn.core.channel import Announcement
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.hub import Identity
from keyturn.core.ledger import Outcome
from keyturn.core.limits import Happening
from keyturn.rotation.broken_glass import break_glass
from keyturn.rotation.context import Workspace
from keyturn.rotation.deeds import Deed, insist_on_name
from keyturn.rotation.entries import update_state
from keyturn.rotation.journal import entry, note_down, record_action, remark_of_process
from keyturn.rotation.limits import count_happening, exceeded

APPROVALS: Final = "approvals"
SHOWN: Final = 8
"""Digits of a digest that name a request."""


@dataclass(frozen=True)
class ApprovalRequest:
    """A deed that waits for a second person, or has their signature. ``entity`` is who asked, as the hub knows them."""

    id: str
    action: str
    about: Mapping[str, Any]
    words: str
    size: int
    entity: str
    asked_by: str
    remark: str
    asked_at: str
    expires_at: str
    nonce: str
    approver: str = ""
    signature: str = ""
    approved_at: str = ""
    used_for: str = ""

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of all that an approval is for."""
        later = ("approver", "signature", "approved_at", "used_for")
        signed = {name: value for name, value in asdict(self).items() if name not in later}
        return hashlib.sha256(canonical(signed)).hexdigest()

    @property
    def message(self) -> bytes:
        """What the approver signs."""
        return f"keyturn approval v1\n{self.digest}\n".encode()

    def over(self, now: datetime) -> bool:
        """Whether its time is up."""
        return now >= datetime.fromisoformat(self.expires_at)


def canonical(data: Any) -> bytes:
    """The one spelling of JSON-ready data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


# --- asking


def insist_on_approval(workspace: Workspace, deed: Deed) -> None:
    """Go on with an approval of exactly this, which is used up. Raises Denied without one, and asks for it.

    With a reason to break the glass it goes on without, and that is told, recorded, and listed until it is reviewed.
    """
    if reason := past_rules.get().break_glass:
        return break_glass(workspace, deed, reason)
    identity = workspace.hub.identity()
    if not identity.entity_id:
        problem = "the hub knows no entity for this login, so a second person can't be told from it"
        raise Denied(deed.action, deed.words, problem, "Log in as yourself, such as by OIDC or userpass")
    request = find_request(workspace, request_id(deed, identity))
    now = workspace.hub_now()
    if request is None or request.over(now) or request.used_for not in ("", deed.use):
        request = ask(workspace, deed, identity, request)
    if not request.signature:
        raise unapproved(workspace, deed, request)
    insist_on_signature(workspace, deed, request, identity)
    use_approval(workspace, deed, request)
    return None


def request_id(deed: Deed, identity: Identity) -> str:
    """The name of the request of this login's person for this deed: the same whenever they ask."""
    digest = hashlib.sha256(canonical([deed.action, dict(deed.about), identity.entity_id])).hexdigest()
    return f"REQ-{digest[:SHOWN]}"


def ask(workspace: Workspace, deed: Deed, identity: Identity, before: ApprovalRequest | None) -> ApprovalRequest:
    """Write the request down in the hub, in the place of one that is over, and let people know. Raises OverLimit."""
    now, most = workspace.hub_now(), workspace.limits.incidents
    if again := count_happening(workspace, "requests", Happening(now), most):
        exceeded(workspace, deed.words, most, "approvals were asked for", again)
    request = ApprovalRequest(
        request_id(deed, identity),
        deed.action,
        dict(deed.about),
        deed.words,
        deed.size,
        identity.entity_id,
        identity.words,
        remark_of_process(),
        now.isoformat(),
        (now + workspace.approvals.valid_for).isoformat(),
        secrets.token_hex(16),
    )
    with record_action(workspace, "ask for approval", note=f"{request.id}: {deed.action} {deed.words}"):
        current = update_request(workspace, request.id, lambda current: request if current == before else current)
    if current == request and workspace.channel is not None:
        words = f"{deed.action} {deed.words}\nAsked by: {request.asked_by}\nTo approve: `keyturn approve {request.id}`"
        with suppress(KeyturnError):
            workspace.channel.send(Announcement(f"msg_{request.nonce}", f"Keyturn: {request.id} waits", words))
    return current


def unapproved(workspace: Workspace, deed: Deed, request: ApprovalRequest) -> Denied:
    """That it waits for a second person, who that may be, and until when."""
    others = [name for name, who in workspace.approvals.approvers.items() if who.entity != request.entity]
    until = f"{datetime.fromisoformat(request.expires_at):%Y-%m-%d %H:%M} UTC"
    problem = f"a second person has to approve it, and nobody has: request {request.id}"
    who = " or ".join(others) or "Nobody who is named, so the operator's file has to name somebody else who"
    hint = f"Nothing was changed. {who} runs `keyturn approve {request.id}` until {until}; then ask for the same again"
    hint += ". In need: --break-glass REASON"
    note_down(workspace, [entry(workspace, deed.action, Outcome.DENIED, note=f"{request.id}: {deed.words}")])
    return Denied(deed.action, deed.words, problem, hint)


def insist_on_signature(workspace: Workspace, deed: Deed, request: ApprovalRequest, identity: Identity) -> None:
    """Raises Denied unless the signature is a second person's whom the operator names, over exactly this."""
    about = replace(
        request, action=deed.action, about=dict(deed.about), words=deed.words, size=deed.size, entity=identity.entity_id
    )
    who = workspace.approvals.approvers.get(request.approver)
    problem = ""
    if who is None:
        problem = f"{request.approver!r} is nobody whom the operator's file lets approve"
    elif who.entity == identity.entity_id:
        problem = "who asks for it has approved it"
    elif not holds(workspace, who, about, request.signature):
        problem = "the signature is not over this request"
    if problem:
        note = f"{request.id}: {problem}"
        note_down(workspace, [entry(workspace, deed.action, Outcome.DENIED, note=note)])
        hint = "Nothing was changed. Somebody may have changed the request in the hub: see its audit log"
        raise Denied(deed.action, deed.words, f"the approval of {request.id} does not hold: {problem}", hint)


def holds(workspace: Workspace, who: ApproverSettings, request: ApprovalRequest, signature: str) -> bool:
    """Whether this is their signature over the request."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    return workspace.verify_signature(base64.b64decode(who.public_key), request.message, raw)


def use_approval(workspace: Workspace, deed: Deed, request: ApprovalRequest) -> None:
    """Use an approval up, before what it is for. Raises Denied where another run has."""
    used = replace(request, used_for=deed.use)
    current = update_request(workspace, request.id, lambda current: used if current == request else current)
    if (current.nonce, current.used_for) != (request.nonce, deed.use):
        problem = f"the approval of {request.id} was used a moment ago"
        raise Denied(deed.action, deed.words, problem, "An approval is for once: ask for another one")
    note = f"{request.id}: {deed.action} {deed.words}; by {request.approver}, digest {request.digest}"
    note_down(workspace, [entry(workspace, "approved", Outcome.DONE, note=note)])


# --- approving


def approve_request(workspace: Workspace, request: ApprovalRequest) -> ApprovalRequest:
    """Sign a request with the key of whoever is logged in.

    Raises Denied for who may not, or has asked for it, and Invalid where it is over or was changed meanwhile.
    """
    identity = workspace.hub.identity()
    name, who = insist_on_approver(workspace, identity)
    if request.entity == identity.entity_id:
        raise Denied("approve", request.id, "you have asked for it yourself", "Somebody else has to")
    if request.over(workspace.hub_now()) or request.signature:
        stands = "approved" if request.signature else "over"
        raise Invalid("approve", request.id, f"it is {stands}", "Let it be asked for again")
    signer = workspace.hub.signer(who.key)
    if base64.b64encode(signer.public_key()).decode() != who.public_key:
        problem = f"the hub's key {who.key} is not the one that the operator's file names"
        raise Denied("approve", request.id, problem, "Let the operator correct the file, or the key")
    with record_action(workspace, "approve", note=f"{request.id}: {request.action} {request.words}") as doing:
        signature = base64.b64encode(signer.sign(request.message)).decode()
        at = workspace.hub_now().isoformat()
        signed = replace(request, approver=name, signature=signature, approved_at=at)
        current = update_request(workspace, request.id, lambda current: signed if current == request else current)
        if current != signed:
            raise Invalid("approve", request.id, "it was changed meanwhile", "Look at it again")
        doing.note = f"{request.id}: {request.action} {request.words}; digest {request.digest}"
    return signed


def insist_on_approver(workspace: Workspace, identity: Identity) -> tuple[str, ApproverSettings]:
    """Who is logged in, as the operator's file names them. Raises Denied."""
    for name, who in workspace.approvals.approvers.items():
        if identity.entity_id and who.entity == identity.entity_id:
            return name, who
    hint = "The operator's file names them under approvals, by their entities in the hub"
    raise Denied("approve", "requests", f"{identity.name} is nobody who may", hint)


# --- requests in the hub


def find_request(workspace: Workspace, request: str) -> ApprovalRequest | None:
    """A request; None where there is none of that name. Raises Invalid for a malformed entry."""
    return _read(workspace, request)[0]


def load_request(workspace: Workspace, request: str) -> ApprovalRequest:
    """A request. Raises NotFound."""
    if current := find_request(workspace, request):
        return current
    raise NotFound("find", request, "the hub has no request of that name", "Whoever asked was told its name")


def update_request(
    workspace: Workspace, request: str, change: Callable[[ApprovalRequest | None], ApprovalRequest | None]
) -> ApprovalRequest:
    """Lay a change over a request, whoever else writes it; what stands there then."""

    def to_data(current: ApprovalRequest | None) -> dict[str, str]:
        return {"request": json.dumps(asdict(current)) if current else ""}

    def load() -> tuple[ApprovalRequest | None, int]:
        return _read(workspace, request)

    current = update_state(workspace, f"{APPROVALS}/{request}", load, change, to_data)
    if current is None:
        raise NotFound("find", request, "the hub has no request of that name")
    return current


def _read(workspace: Workspace, request: str) -> tuple[ApprovalRequest | None, int]:
    insist_on_name(request, "REQ-")
    place = f"{APPROVALS}/{request}"
    state = workspace.hub.read_state(place)
    if state is None:
        return None, 0
    try:
        read = ApprovalRequest(**json.loads(state.data["request"]))
        datetime.fromisoformat(read.expires_at)
    except (ValueError, TypeError, KeyError, AttributeError):
        hint = f"Remove it, and ask again: `vault kv metadata delete {workspace.hub.state_mount}/{place}`"
        raise Invalid("read", request, f"the entry {place} of Keyturn's state is malformed", hint) from None
    return read, state.version
