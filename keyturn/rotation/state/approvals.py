"""A second person's approval, where the site requires one: requested in the hub, signed, valid once.

The signature covers the digest of the exact request and is verified with the operator's file, so write access to the
hub approves nothing. Requesters can't approve their own requests. Where the hub doesn't identify the requester, two
approvers have to sign.
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
from keyturn.core.hourly_limits import Happening
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
    """An action that waits for approvals, and its approvals.

    ``entity`` is the requester in the hub. ``needed`` is the number of signatures: two where the person is unknown.
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
        """SHA-256, in hexadecimal digits, of everything that an approval covers."""
        later = ("approvals", "used_for")
        signed = {name: value for name, value in asdict(self).items() if name not in later}
        return hashlib.sha256(canonical(signed)).hexdigest()

    @property
    def message(self) -> bytes:
        """The message that the approver signs."""
        return f"keyturn approval v2\n{self.digest}\n".encode()

    def over(self, now: datetime, valid_for: timedelta) -> bool:
        """Whether it has expired. A request valid for longer than the limit counts as expired."""
        expires_at = datetime.fromisoformat(self.expires_at)
        return not now < expires_at <= now + valid_for + SKEW


# --- asking


def insist_on_approval(workspace: Workspace, deed: Deed) -> None:
    """Use up approvals of exactly this action. Raises Denied without them, and requests them.

    With a break-glass reason none is needed; that is recorded, reported, and listed until reviewed.
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
    """The name of this person's request for this action: always the same."""
    digest = hashlib.sha256(canonical([deed.action, dict(deed.about), identity.entity_id])).hexdigest()
    return f"REQ-{digest[:SHOWN]}"


def ask(
    workspace: Workspace, deed: Deed, identity: Identity, needed: int, before: ApprovalRequest | None
) -> ApprovalRequest:
    """Write the request into the hub, replacing an expired one, and announce it. Raises OverLimit."""
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
        approve = f"To approve: `keyturn access approve {request.id}`"
        words = f"{deed.action} {deed.words}\nAsked by: {request.asked_by}\n{approve}"
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
    """The error for an action that waits for approvals: from which approvers, and until when."""
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
    hint = f"{who} `keyturn access approve {request.id}` until {until}; then ask for the same again"
    if len(others) < missing:
        hint = "The operator's file names too few other approvers"
    hint = f"Nothing was changed. {hint}. In need: --break-glass REASON"
    note = "; ".join((f"{request.id}: {deed.words}", *problems))
    note_down(workspace, [entry(workspace, deed.action, Outcome.DENIED, note=note)])
    return Denied(deed.action, deed.words, problem, hint)


def use_approvals(workspace: Workspace, deed: Deed, request: ApprovalRequest, valid: tuple[Approval, ...]) -> None:
    """Use the approvals up before the action. Raises Denied where another run has."""
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
    """Sign a request as an approver, with ``key`` or the approver's key in the hub.

    Raises Denied for the requester and for anyone who is no approver, and Invalid where the request is over or
    changed.
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
    """Add an approval to the valid ones, and drop invalid ones. Raises Invalid where the request was changed."""

    def approved(current: ApprovalRequest | None) -> ApprovalRequest:
        if current is None or current.digest != request.digest or current.used_for:
            raise Invalid("approve", request.id, "it was changed meanwhile", "Look at it again")
        valid, _ = count_approvals(workspace, current.entity, current.message, current.approvals)
        return replace(current, approvals=(*valid, approval))

    return update_request(workspace, request.id, approved)


# --- requests in the hub


def find_request(workspace: Workspace, request: str) -> ApprovalRequest | None:
    """A request; None where none has that name. Raises Invalid for a malformed entry."""
    return _read(workspace, request)[0]


def load_request(workspace: Workspace, request: str) -> ApprovalRequest:
    """A request. Raises NotFound."""
    if current := find_request(workspace, request):
        return current
    raise NotFound("find", request, "the hub has no request of that name", "The requester has its name")


def update_request(
    workspace: Workspace, request: str, change: Callable[[ApprovalRequest | None], ApprovalRequest | None]
) -> ApprovalRequest:
    """Apply a change to a request by compare-and-set with retries, and return the result."""

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
        hint = f"Remove it, and request it again: `vault kv metadata delete {workspace.hub.state_mount}/{place}`"
        raise Invalid("read", request, f"the entry {place} of Keyturn's state is malformed", hint) from None
    return read, state.version


def _from_data(data: dict[str, Any]) -> ApprovalRequest:
    """The request; approvals of an earlier format are dropped. Raises TypeError for other data."""
    for old in ("approver", "signature", "approved_at"):
        data.pop(old, None)
    approvals = tuple(Approval(**approval) for approval in data.pop("approvals", ()))
    return ApprovalRequest(**data, approvals=approvals)
