"""Requests for access: stored in the hub, approved by signatures over their content, or denied.

Approvers sign the request's digest, which covers the policy's, so a writer of the entry can neither approve nor change
it. Only the requester may create entries in their folder, and not change them (keyturn-requester.hcl). So the folder
identifies the requester, who can't undo a denial.
"""

import hashlib
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from keyturn.catalogue.access_policies import AccessPolicySettings, Effect
from keyturn.core.errors import Denied, Invalid, NotFound
from keyturn.core.ports.ledger import Outcome, Signer
from keyturn.core.text.plain_text import inert
from keyturn.grants.access_request import ARCHIVE, GRANTS, AccessRequest
from keyturn.grants.gather_facts import look_as_self
from keyturn.grants.policies import PolicyIndex
from keyturn.rotation.signers import (
    Approval,
    Review,
    count_approvals,
    find_approver,
    is_known,
    sign_text,
    signer_at_work,
)
from keyturn.rotation.state.actions import insist_on_name
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.entries import AT_ONCE, read_entries, update_state
from keyturn.rotation.state.grant_store import GrantStage, Receipt, read_grant, receipt_place
from keyturn.rotation.state.hourly_limits import speak_up
from keyturn.rotation.state.journal import entry, note_down, record_action

ASK: Final = "ask for access"
"""The name of a request in the ledger."""
APPROVE: Final = "approve access"
"""The name of an approval in the ledger."""
BREAK: Final = "break glass"
"""The ledger's name of any action without a second person."""
BEGINS: Final = "AR-"
"""The prefix of request names."""

MOST_OPEN: Final = 20
"""Maximum open requests per person."""

FOLDER_DIGITS: Final = 4
"""Digits of a request's name that identify its folder."""

LONGEST_TEXT: Final = 300
"""Maximum characters of a purpose or a ticket."""


SKEW: Final = timedelta(minutes=1)
"""Maximum clock difference between a hub's nodes."""


class RequestState(StrEnum):
    """The state of a request, evaluated at each look."""

    WAITS = "waits"
    APPROVED = "approved"
    DENIED = "denied"
    ENDED = "ended"
    OVER = "over"
    VOID = "void"
    """No longer valid: the policy or the request has changed."""


@dataclass(frozen=True)
class RequestStatus:
    """The status of a request: valid approvals, required number, and problems."""

    state: RequestState
    approved_by: tuple[str, ...] = ()
    needed: int = 0
    problems: tuple[str, ...] = field(default=())

    @property
    def words(self) -> str:
        """The status as a clause for people, problems last."""
        return state_words(self.state, self.problems)


def state_words(state: str, problems: tuple[str, ...] = ()) -> str:
    """The state of a request or grant as a clause for people."""
    return "; ".join(("it waits for approvals" if state == RequestState.WAITS else f"it is {state}", *problems))


# --- asking


def ask_for_access(
    workspace: Workspace,
    path: str,
    duration: timedelta,
    purpose: str,
    ticket: str = "",
    policy: str = "",
    *,
    break_glass: bool = False,
) -> AccessRequest:
    """Store a request in the hub. Raises Denied, and records it, if no policy allows it.

    ``policy`` defaults to the one with the fewest approvals. ``break_glass`` does without them where a policy allows
    it. People are notified first.
    """
    insist_on_lines(path, purpose, ticket)
    facts = look_as_self(workspace, path, duration)
    # Conditions that this login can't check, such as an incident, are checked before delivery.
    decision = PolicyIndex.of(workspace.catalogue).decide(facts, policy, break_glass=break_glass, lenient=True)
    reasons = decision.reasons
    if policy and policy not in workspace.catalogue.access_policies:
        reasons = (f"the catalogue has no policy {policy!r}",)
    identity = workspace.hub.identity()
    identified = is_known(workspace, identity)
    needed = 0 if break_glass or decision.by is None else approvals_needed(decision.by.policy, identified)
    if break_glass and not identified:
        reasons = (*reasons, unknown_person(identity.login))
    if decision.by and (few := missing_approvers(workspace, decision.by.policy, facts.subject.entity, needed)):
        reasons = (*reasons, few)
    if decision.by is None or reasons:
        raise refused_request(workspace, path, reasons)
    insist_on_few(workspace, facts.subject.entity)
    wanted = AccessRequest(
        new_name(facts.subject.entity),
        path,
        int(duration.total_seconds()),
        purpose,
        ticket,
        decision.by.name,
        decision.by.policy.digest,
        needed,
        facts.subject.entity,
        identity.words,
        facts.now.isoformat(),
        (facts.now + workspace.approvals.valid_for).isoformat(),
        secrets.token_hex(16),
        break_glass=break_glass,
        login=facts.login.accessor if facts.login else "",
    )
    if break_glass:
        sound_alarm(workspace, wanted)
    with record_action(workspace, ASK, path, note=asking_note(wanted)):
        workspace.hub.claim_state(wanted.place, {"request": json.dumps(asdict(wanted))})
    return wanted


def approvals_needed(policy: AccessPolicySettings, identified: bool) -> int:
    """The required approvals: one more if the person is unknown and may be an approver."""
    return policy.approvals + 1 if policy.approvals and not identified else policy.approvals


def unknown_person(login: str) -> str:
    """Why this login may not break the glass."""
    return f"a login made at {login or 'no auth method'} does not say which person breaks the glass: log in yourself"


def insist_on_lines(path: str, purpose: str, ticket: str) -> None:
    """Raise Invalid for an empty purpose, or text that could mislead approvers."""
    for text in (purpose, ticket):
        if len(text) > LONGEST_TEXT or not text.isprintable():
            problem = f"a purpose and a ticket are one line of {LONGEST_TEXT} characters at most"
            raise Invalid("ask for access to", path, problem, "Say it shorter, with --purpose and --ticket")
    if not purpose.strip():
        raise Invalid("ask for access to", path, "it says no purpose", "Say with --purpose what for")


def asking_note(request: AccessRequest) -> str:
    """The ledger's note on a request."""
    return f"{request.id}: {request.words}; digest {request.digest}"


def glass_note(request: AccessRequest) -> str:
    """The note on a broken glass, for the ledger and people."""
    return inert(
        f"{request.id}: {request.words}; policy {request.policy}, by {request.asked_by}, digest {request.digest}"
    )


def sound_alarm(workspace: Workspace, request: AccessRequest) -> None:
    """Record and report access without the required approvals. Raises Unrecorded."""
    review = f"To review it, once it is over: `keyturn access review {request.id} --finding TEXT`"
    speak_up(workspace, BREAK, glass_note(request), review, f"msg_{request.nonce}")


def missing_approvers(workspace: Workspace, policy: AccessPolicySettings, entity: str, needed: int) -> str:
    """Why the ``needed`` approvals or a review are impossible."""
    named = workspace.approvals.approvers
    if policy.break_glass and not needed:
        others = any(who.entity != entity for who in named.values())
        return "" if others else "no one could review it: the operator's file names no approver other than you"
    able = [name for name in policy.approvers if name in named and named[name].entity != entity]
    if len(able) >= needed:
        return ""
    return f"{needed} have to approve it, and the operator's file names {len(able)} of them other than you"


def refused_request(workspace: Workspace, path: str, reasons: tuple[str, ...]) -> Denied:
    """The error for a refused request, after recording it."""
    why = "; ".join(reasons)
    note_down(workspace, [entry(workspace, ASK, Outcome.DENIED, path, note=why)])
    return Denied("ask for access to", path, why, "See `keyturn access explain`, and access_policies in the catalogue")


def insist_on_few(workspace: Workspace, entity: str) -> None:
    """Raise Invalid if this person has too many open requests."""
    requests, _ = read_entries(workspace, f"{GRANTS}/{entity}", lambda place: load(workspace, place))
    if sum(side_by_side(lambda request: is_open(workspace, request), requests, AT_ONCE)) >= MOST_OPEN:
        problem = f"{MOST_OPEN} requests of yours are open"
        hint = "Give back what you need no more (`keyturn access end`), or wait until they are decided, or over"
        raise Invalid("ask for access", entity, problem, hint)


def is_open(workspace: Workspace, request: AccessRequest) -> bool:
    """Whether a request is undecided, or its access active, for its requester."""
    now = workspace.hub_now()
    if stored := read_grant(workspace, request.grant_place):
        return stored.grant.stage != GrantStage.ENDED and not stored.grant.is_over(now)
    if request.closed or is_over(request, now):
        return False
    return workspace.hub.read_state(receipt_place(request.entity, request.id, Receipt.RETURNED)) is None


# --- its status


def status_of(workspace: Workspace, request: AccessRequest) -> RequestStatus:
    """The status of a request, by the present time, catalogue and operator's file."""
    policy = workspace.catalogue.access_policies.get(request.policy)
    if request.closed:
        return RequestStatus(RequestState(request.closed), problems=(request.because,) if request.because else ())
    now = workspace.hub_now()
    if policy is None or (why := misfit(workspace, policy, request, now)):
        why = f"the policy {request.policy} has changed since" if policy is None else why
        return RequestStatus(RequestState.VOID, problems=(why,))
    needed = 0 if request.break_glass else max(policy.approvals, request.needed)
    approved, problems = valid_approvals(workspace, policy, request)
    if is_over(request, now):
        return RequestStatus(RequestState.OVER, approved, needed, problems)
    state = RequestState.APPROVED if len(approved) >= needed else RequestState.WAITS
    return RequestStatus(state, approved, needed, problems)


def misfit(workspace: Workspace, policy: AccessPolicySettings, request: AccessRequest, now: datetime) -> str:
    """Why the policy doesn't allow this request, or empty."""
    secret = workspace.catalogue.secrets.get(request.path)
    asked_at, ends_at = datetime.fromisoformat(request.asked_at), datetime.fromisoformat(request.expires_at)
    if policy.digest != request.policy_digest:
        return f"the policy {request.policy} has changed since"
    if secret is None or not policy.covers(request.path, secret.about, workspace.catalogue.mounts):
        return f"the policy {request.policy} is not about {request.path}"
    if policy.effect is Effect.DENY or not 0 < request.seconds <= policy.maximum.total_seconds():
        return f"the policy {request.policy} allows nothing like it"
    if request.break_glass and not policy.break_glass:
        return f"the policy {request.policy} allows no break-glass"
    if asked_at > now + SKEW or ends_at > asked_at + workspace.approvals.valid_for:
        return "it is dated so that it would hold for longer than it may"
    return ""


def new_name(entity: str) -> str:
    """A new request's name, with its folder's digits."""
    return f"{BEGINS}{folder_digits(entity)}{secrets.token_hex(4)}"


def folder_digits(entity: str) -> str:
    """The first digits of all request names of an entity."""
    return hashlib.sha256(entity.encode()).hexdigest()[:FOLDER_DIGITS]


def is_over(request: AccessRequest, now: datetime) -> bool:
    """Whether the request has expired."""
    return now >= datetime.fromisoformat(request.expires_at)


def valid_approvals(
    workspace: Workspace, policy: AccessPolicySettings, request: AccessRequest
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The valid approvers, and the problems of other approvals."""
    others = [f"{each.approver!r} may not approve it" for each in request.approvals if not names(policy, each)]
    named = [each for each in request.approvals if names(policy, each)]
    valid, problems = count_approvals(workspace, request.entity, request.message, named)
    return tuple(each.approver for each in valid), (*others, *problems)


def names(policy: AccessPolicySettings, approval: Approval) -> bool:
    """Whether the policy names the approver."""
    return approval.approver in policy.approvers


# --- approving, denying, ending


def approve_access(workspace: Workspace, name: str, key: Signer | None = None) -> AccessRequest:
    """Sign a request as an approver, with their own ``key`` or their key in the hub.

    Raises Denied for the requester and unauthorised people, Invalid if it isn't pending or was changed.
    """
    request = find_request(workspace, name)
    with record_action(workspace, APPROVE, request.path, note=f"{name}: {request.words}") as doing:
        approver, signer = insist_on_other_approver(workspace, request, key)
        approval = Approval(approver, workspace.hub_now().isoformat(), sign_text(signer, request.message))
        after = add_approval(workspace, request, approval)
        doing.note = approval_note(request, approval)
    return after


def approval_note(request: AccessRequest, approval: Approval) -> str:
    """The ledger's note on an approval."""
    policy = f"policy {request.policy} {request.policy_digest}"
    return f"{request.id}: by {approval.approver}, {policy}, digest {request.digest}, signature {approval.signature}"


def insist_on_other_approver(workspace: Workspace, request: AccessRequest, key: Signer | None) -> tuple[str, Signer]:
    """An authorised approver of this pending request, and their signer. Raises Denied, Invalid."""
    approver, who, signer = signer_at_work(workspace, key)
    if request.entity == who.entity:
        raise Denied("approve", request.id, "you have asked for it yourself", "Someone else has to")
    status = status_of(workspace, request)
    if approver in status.approved_by:
        hint = "It waits for someone else" if status.state is RequestState.WAITS else "Nothing more is to be done"
        raise Invalid("approve", request.id, "you have approved it before", hint)
    if status.state is not RequestState.WAITS:
        hint = "Nothing is to be done" if status.state is RequestState.APPROVED else "Let it be asked for again"
        raise Invalid("approve", request.id, status.words, hint)
    policy = workspace.catalogue.access_policies[request.policy]
    if approver not in policy.approvers:
        problem = f"the policy {request.policy} does not name {approver}"
        raise Denied("approve", request.id, problem, f"{' or '.join(policy.approvers)} may")
    return approver, signer


def add_approval(workspace: Workspace, request: AccessRequest, approval: Approval) -> AccessRequest:
    """Add an approval. Raises Invalid for a changed request."""

    def approved(current: AccessRequest) -> AccessRequest:
        if current.digest != request.digest or current.closed:
            raise Invalid("approve", request.id, "it was changed meanwhile", "Look at it again")
        others = (each for each in current.approvals if each.approver != approval.approver)
        return replace(current, approvals=(*others, approval))

    return update_request(workspace, request.place, approved)


def deny_access(workspace: Workspace, name: str, because: str) -> AccessRequest:
    """Close a request for good. Raises Denied unless an approver does."""
    approver, _ = find_approver(workspace, workspace.hub.identity())
    return close(workspace, find_request(workspace, name), RequestState.DENIED, approver, because)


def end_access(workspace: Workspace, name: str) -> AccessRequest:
    """Close an unneeded request. Raises Denied unless an approver does."""
    approver, _ = find_approver(workspace, workspace.hub.identity())
    return close(workspace, find_request(workspace, name), RequestState.ENDED, approver, "")


def close(workspace: Workspace, request: AccessRequest, state: RequestState, by: str, because: str) -> AccessRequest:
    """Close a request. An earlier closing is success."""
    at = workspace.hub_now().isoformat()

    def closed(current: AccessRequest) -> AccessRequest:
        if current.closed:
            return current
        return replace(current, closed=state.value, closed_by=by, closed_at=at, because=because)

    action = "deny access" if state is RequestState.DENIED else "end access"
    with record_action(workspace, action, request.path, note=f"{request.id}: {because}" if because else request.id):
        return update_request(workspace, request.place, closed)


# --- requests in the hub


def visible_requests(workspace: Workspace) -> tuple[list[AccessRequest], list[Invalid]]:
    """Every request that this login may see, perhaps only its own (keyturn-requester.hcl)."""
    try:
        return list_requests(workspace)
    except Denied:
        entity = workspace.hub.identity().entity_id
        if not entity:
            raise
        return list_requests(workspace, f"{GRANTS}/{entity}")


def list_requests(workspace: Workspace, folder: str = GRANTS) -> tuple[list[AccessRequest], list[Invalid]]:
    """Every request, unordered, and the errors for malformed entries."""
    return read_entries(workspace, folder, lambda place: load(workspace, place))


def find_request(workspace: Workspace, name: str) -> AccessRequest:
    """Find a visible request by name, also in the archive.

    The name identifies the folder, so few are read. Raises NotFound, and Invalid for a malformed name or two requests
    with one name, of which one may be an imitation.
    """
    insist_on_name(name, BEGINS)
    try:
        return find_in(workspace, GRANTS, name)
    except NotFound as error:
        with suppress(NotFound, Denied):
            return find_in(workspace, ARCHIVE, name)
        raise error from None


def find_in(workspace: Workspace, section: str, name: str) -> AccessRequest:
    """Find a request below one folder of Keyturn's mount."""
    own, digits = workspace.hub.identity().entity_id, name.removeprefix(BEGINS)[:FOLDER_DIGITS]
    if folder_digits(own) == digits:
        with suppress(NotFound, Denied):
            return load(workspace, f"{section}/{own}/{name}")
    try:
        folders = workspace.hub.list_folders(section)
    except Denied:
        return load(workspace, f"{section}/{own}/{name}")
    likely = [folder for folder in folders if folder_digits(folder) == digits]
    # The names of older Keyturn versions don't identify the folder.
    others = [folder for folder in folders if folder_digits(folder) != digits]
    for some in (likely, others):
        if matches := list(
            filter(
                None, side_by_side(lambda folder: load_if_there(workspace, f"{section}/{folder}", name), some, AT_ONCE)
            )
        ):
            return insist_on_one(name, matches)
    raise NotFound("find", name, "the hub has no request of that name", "See `keyturn access list`")


def load_if_there(workspace: Workspace, folder: str, name: str) -> AccessRequest | None:
    """The request of that name in a folder, or None. Raises Invalid."""
    try:
        return load(workspace, f"{folder}/{name}")
    except NotFound:
        return None


def insist_on_one(name: str, matches: list[AccessRequest]) -> AccessRequest:
    """The only match. Raises Invalid if there are several."""
    if len(matches) > 1:
        hint = f"Let it be asked for again, and see who wrote these: {', '.join(request.place for request in matches)}"
        raise Invalid("find", name, "two requests bear that name", hint)
    return matches[0]


def load(workspace: Workspace, place: str) -> AccessRequest:
    """The request at a path. Raises NotFound, Invalid."""
    return _read(workspace, place)[0]


def update_request(workspace: Workspace, place: str, change: Callable[[AccessRequest], AccessRequest]) -> AccessRequest:
    """Change a request by compare-and-set, and return it."""

    def to_data(current: AccessRequest) -> dict[str, str]:
        return {"request": json.dumps(asdict(current))}

    return update_state(workspace, place, lambda: _read(workspace, place), change, to_data)


def _read(workspace: Workspace, place: str) -> tuple[AccessRequest, int]:
    state = workspace.hub.read_state(place)
    if state is None:
        raise NotFound("find", place, "the hub has no request there", "See `keyturn access list`")
    try:
        request = from_data(json.loads(state.data["request"]))
        moments = [datetime.fromisoformat(moment) for moment in (request.asked_at, request.expires_at)]
        if any(moment.tzinfo is None for moment in moments):
            raise ValueError("moment")
        if place not in (request.place, request.archive_place):
            raise ValueError("place")
    except (ValueError, TypeError, KeyError, AttributeError):
        hint = f"See the hub's audit log for who wrote it: `vault kv metadata get {workspace.hub.state_mount}/{place}`"
        raise Invalid("read", place, "the entry is not a request of its folder's owner", hint) from None
    return request, state.version


def from_data(data: dict[str, Any]) -> AccessRequest:
    """Parse a request. Raises TypeError if it is malformed."""
    approvals = tuple(Approval(**approval) for approval in data.pop("approvals", ()))
    review = data.pop("review", None)
    return AccessRequest(**data, approvals=approvals, review=Review(**review) if review else None)
