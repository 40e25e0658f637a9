"""A second person's approval, where the site asks for one: asked for in the hub, signed by them, good for one use.

What is signed is the digest of the exact request: what, about which secrets, why, who asks, until when. A signature is
verified with the public key that the operator's file names, so neither the hub's state nor anyone who can write there
can approve anything. You can't approve your own request. Where the hub does not say which person asks, that may be any
of the approvers, so two of them have to sign.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.actor import past_rules
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.limits import Happening
from keyturn.core.notifications.channel import Announcement
from keyturn.core.ports.hub import Identity
from keyturn.core.ports.ledger import Outcome, Signer
from keyturn.rotation.signers import Approval, canonical, count_approvals, is_known, sign_text, signer_at_work
from keyturn.rotation.state.actions import Deed, insist_on_name
from keyturn.rotation.state.break_glass import break_glass
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import update_state
from keyturn.rotation.state.hourly_limits import count_happening, exceeded
from keyturn.rotation.state.journal import entry, note_down, record_action, remark_of_process

APPROVALS: Final = "approvals"
SHOWN: Final = 8
"""Digits of a digest that name a request."""
SKEW: Final = timedelta(minutes=1)
"""How far the clocks of a hub's nodes may differ."""


@dataclass(frozen=True)
class ApprovalRequest:
    """A deed that waits for approvals, and those that it has.

    ``entity`` is who asked, as the hub knows them; ``needed`` is how many have to sign: two where it is unknown which
    person that is.
    """

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
    needed: int = 2
    approvals: tuple[Approval, ...] = ()
    used_for: str = ""

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of all that an approval is for."""
        later = ("approvals", "used_for")
        signed = {name: value for name, value in asdict(self).items() if name not in later}
        return hashlib.sha256(canonical(signed)).hexdigest()

    @property
    def message(self) -> bytes:
        """What the approver signs."""
        return f"keyturn approval v2\n{self.digest}\n".encode()

    def over(self, now: datetime, valid_for: timedelta) -> bool:
        """Whether its time is up. One that would hold for longer than any may was never good."""
        expires_at = datetime.fromisoformat(self.expires_at)
        return not now < expires_at <= now + valid_for + SKEW


# --- asking


def insist_on_approval(workspace: Workspace, deed: Deed) -> None:
    """Go on with approvals of exactly this, which are used up. Raises Denied without them, and asks for them.

    With a reason to break the glass it goes on without. That is recorded, reported, and listed until it is reviewed.
    """
    if reason := past_rules.get().break_glass:
        return break_glass(workspace, deed, reason)
    identity = workspace.hub.identity()
    needed = 1 if is_known(workspace, identity) else 2
    request = find_request(workspace, request_id(deed, identity))
    over = request is None or request.over(workspace.hub_now(), workspace.approvals.valid_for)
    if request is None or over or request.used_for not in ("", deed.use) or request.needed != needed:
        request = ask(workspace, deed, identity, needed, request)
    about = replace(
        request, action=deed.action, about=dict(deed.about), words=deed.words, size=deed.size, entity=identity.entity_id
    )
    valid, problems = count_approvals(workspace, identity.entity_id, about.message, request.approvals)
    if len(valid) < needed:
        raise unapproved(workspace, deed, request, valid, problems)
    use_approvals(workspace, deed, request, valid)
    return None


def request_id(deed: Deed, identity: Identity) -> str:
    """The name of the request of this login's person for this deed: the same whenever they ask."""
    digest = hashlib.sha256(canonical([deed.action, dict(deed.about), identity.entity_id])).hexdigest()
    return f"REQ-{digest[:SHOWN]}"


def ask(
    workspace: Workspace, deed: Deed, identity: Identity, needed: int, before: ApprovalRequest | None
) -> ApprovalRequest:
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
        needed,
    )
    with record_action(workspace, "ask for approval", note=f"{request.id}: {deed.action} {deed.words}"):
        current = update_request(workspace, request.id, lambda current: request if current == before else current)
    if current == request and workspace.channel is not None:
        words = f"{deed.action} {deed.words}\nAsked by: {request.asked_by}\nTo approve: `keyturn approve {request.id}`"
        with suppress(KeyturnError):
            workspace.channel.send(Announcement(f"msg_{request.nonce}", f"Keyturn: {request.id} waits", words))
    return current


def unapproved(
    workspace: Workspace,
    deed: Deed,
    request: ApprovalRequest,
    valid: tuple[Approval, ...],
    problems: tuple[str, ...],
) -> Denied:
    """That it waits for approvals, whose that may be, and until when."""
    signed = [approval.approver for approval in valid]
    named = workspace.approvals.approvers.items()
    others = [name for name, who in named if who.entity != request.entity and name not in signed]
    until = f"{datetime.fromisoformat(request.expires_at):%Y-%m-%d %H:%M} UTC"
    problem = f"a second person has to approve it: request {request.id}"
    if request.needed > 1:
        why = f"this login does not say which person asks ({request.asked_by.partition(' (')[0]})"
        problem = f"{request.needed} people have to approve it, since {why}: request {request.id}"
    problem += f"; approved so far by {', '.join(signed)}" if signed else ""
    problem += f"; what does not count: {'; '.join(problems)}" if problems else ""
    missing = request.needed - len(valid)
    who = f"{' or '.join(others)} runs" if missing == 1 else f"{missing} of {', '.join(others)} run"
    hint = f"{who} `keyturn approve {request.id}` until {until}; then ask for the same again"
    if len(others) < missing:
        hint = "The operator's file names too few other approvers"
    hint = f"Nothing was changed. {hint}. In need: --break-glass REASON"
    note = "; ".join((f"{request.id}: {deed.words}", *problems))
    note_down(workspace, [entry(workspace, deed.action, Outcome.DENIED, note=note)])
    return Denied(deed.action, deed.words, problem, hint)


def use_approvals(workspace: Workspace, deed: Deed, request: ApprovalRequest, valid: tuple[Approval, ...]) -> None:
    """Use approvals up, before what they are for. Raises Denied where another run has."""
    used = replace(request, used_for=deed.use)
    current = update_request(workspace, request.id, lambda current: used if current == request else current)
    if (current.nonce, current.used_for) != (request.nonce, deed.use):
        problem = f"the approval of {request.id} was used a moment ago"
        raise Denied(deed.action, deed.words, problem, "An approval is for once: ask for another one")
    signed = ", ".join(f"{approval.approver} (signature {approval.signature})" for approval in valid)
    note = f"{request.id}: {deed.action} {deed.words}; digest {request.digest}, by {signed}"
    note_down(workspace, [entry(workspace, "approved", Outcome.DONE, note=note)])


# --- approving


def approve_request(workspace: Workspace, request: ApprovalRequest, key: Signer | None = None) -> ApprovalRequest:
    """Sign a request, as an approver, with their own ``key`` or their key in the hub.

    Raises Denied for anyone who may not, or has asked for it, and Invalid where it is over or was changed meanwhile.
    """
    name, who, signer = signer_at_work(workspace, key)
    if who.entity == request.entity:
        raise Denied("approve", request.id, "you have asked for it yourself", "Another approver has to")
    valid, _ = count_approvals(workspace, request.entity, request.message, request.approvals)
    if request.used_for or request.over(workspace.hub_now(), workspace.approvals.valid_for):
        stands = "used" if request.used_for else "over"
        raise Invalid("approve", request.id, f"it is {stands}", "Let it be asked for again")
    if len(valid) >= request.needed or name in [approval.approver for approval in valid]:
        raise Invalid("approve", request.id, "it is approved", f"By {', '.join(each.approver for each in valid)}")
    with record_action(workspace, "approve", note=f"{request.id}: {request.action} {request.words}") as doing:
        approval = Approval(name, workspace.hub_now().isoformat(), sign_text(signer, request.message))
        doing.note = f"{request.id}: {request.action} {request.words}; by {name}, digest {request.digest}"
        return add_approval(workspace, request, approval)


def add_approval(workspace: Workspace, request: ApprovalRequest, approval: Approval) -> ApprovalRequest:
    """Add an approval to those that count, and drop what does not. Raises Invalid where the request was changed."""

    def approved(current: ApprovalRequest | None) -> ApprovalRequest:
        if current is None or current.digest != request.digest or current.used_for:
            raise Invalid("approve", request.id, "it was changed meanwhile", "Look at it again")
        valid, _ = count_approvals(workspace, current.entity, current.message, current.approvals)
        return replace(current, approvals=(*valid, approval))

    return update_request(workspace, request.id, approved)


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
        read = _from_data(json.loads(state.data["request"]))
        if datetime.fromisoformat(read.expires_at).tzinfo is None:
            raise ValueError("moment")
    except (ValueError, TypeError, KeyError, AttributeError):
        hint = f"Remove it, and ask again: `vault kv metadata delete {workspace.hub.state_mount}/{place}`"
        raise Invalid("read", request, f"the entry {place} of Keyturn's state is malformed", hint) from None
    return read, state.version


def _from_data(data: dict[str, Any]) -> ApprovalRequest:
    """The request. One of an earlier version has no approval that counts any more. Raises TypeError for no request."""
    for old in ("approver", "signature", "approved_at"):
        data.pop(old, None)
    approvals = tuple(Approval(**approval) for approval in data.pop("approvals", ()))
    return ApprovalRequest(**data, approvals=approvals)
