"""Deliver approved access: a new credential in a single-use wrapping, for the requester alone.

The grant records the start, the credential is made, its wrapping token is stored, the grant records the delivery. After
a crash, the next run revokes a credential that was not stored and tries again. A stored one is never delivered again.
"""

from dataclasses import replace
from typing import Final

from keyturn.catalogue.hub_entries import database_roles
from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, Locked
from keyturn.core.ports.grants import WrappedCredential
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import PasswordPolicy, generate
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.facts import AccessFacts
from keyturn.grants.gather_facts import AccessSight
from keyturn.grants.grants import GIVE, Delivery, read_delivery
from keyturn.grants.requests import RequestState, approvals_needed, sound_alarm, status_of, unknown_person
from keyturn.rotation.state.context import Workspace, alive
from keyturn.rotation.state.grant_store import (
    TAKE_OVER,
    AccessGrant,
    GrantStage,
    Receipt,
    StoredGrant,
    end_credential,
    open_maker,
    read_grant,
    receipt_place,
    write_grant,
)
from keyturn.rotation.state.journal import record_action

TRIES: Final = 3

GONE: Final = "the hub no longer knows the requester, or has disabled them"


def deliver_request(workspace: Workspace, request: AccessRequest, sight: AccessSight | None = None) -> AccessGrant:
    """Deliver a request after checking approvals, policy and conditions again."""
    sight, stored = sight or AccessSight(workspace), read_grant(workspace, request.grant_place)
    if stored and stored.grant.stage != GrantStage.ISSUING:
        return stored.grant
    if stored:
        insist_on_abandoned(workspace, stored.grant, stored.age)
        if delivery := delivered(workspace, stored.grant):
            with record_action(workspace, GIVE, request.path, note=given_words(stored.grant, delivery)):
                return complete(workspace, stored, delivery)
        end_credential(workspace, stored.grant)
    insist_on_approved(workspace, request)
    facts = insist_on_allowed(request, sight)
    insist_on_own_target(workspace, request)
    insist_on_known(workspace, request, facts)
    if request.break_glass:
        # The request may have bypassed the command, which also notifies people.
        sound_alarm(workspace, request)
    with record_action(workspace, GIVE, request.path, note=f"{request.id}: {request.words}") as doing:
        claimed = begin_attempt(workspace, request, stored, begun(workspace, request, facts, sight))
        delivery = issue(workspace, claimed.grant)
        doing.note = given_words(claimed.grant, delivery)
        return complete(workspace, claimed, delivery)


def give_if_approved(workspace: Workspace, request: AccessRequest, sight: AccessSight) -> AccessGrant | RequestState:
    """Deliver an approved request once, else return its state.

    Raises as :func:`deliver_request` does.
    """
    state = status_of(workspace, request).state
    if state is not RequestState.APPROVED:
        return state
    stored = read_grant(workspace, request.grant_place)
    if stored and stored.grant.stage != GrantStage.ISSUING:
        return state
    return deliver_request(workspace, request, sight)


# --- whether it may be given


def insist_on_abandoned(workspace: Workspace, grant: AccessGrant, age: float) -> None:
    """Raise Locked while another process may deliver it."""
    if grant.holder == workspace.holder or alive(grant.holder) is False or age > TAKE_OVER:
        return
    raise Locked("give", grant.request, f"{grant.holder} is at it", "It is tried again by itself")


def insist_on_approved(workspace: Workspace, request: AccessRequest) -> None:
    """Raise Invalid unless it is approved and still needed."""
    status = status_of(workspace, request)
    if status.state is not RequestState.APPROVED:
        raise Invalid("give", request.id, status.words, "See `keyturn access show`")
    if workspace.hub.read_state(receipt_place(request.entity, request.id, Receipt.RETURNED)):
        raise Invalid("give", request.id, "the requester no longer needs it", "Let it be asked for again")


def insist_on_allowed(request: AccessRequest, sight: AccessSight) -> AccessFacts:
    """The facts that allow the request. Raises Denied, also for unknown facts."""
    facts = sight.facts_of(request)
    decision = sight.policies.decide(facts, request.policy, break_glass=request.break_glass) if facts else None
    reasons = decision.reasons if decision else (GONE,)
    if facts is None or reasons:
        hint = "See `keyturn access explain`, and access_policies in the catalogue"
        raise Denied("give", request.id, "; ".join(reasons), hint)
    return facts


def insist_on_own_target(workspace: Workspace, request: AccessRequest) -> None:
    """Raise Denied unless the hub's role makes accounts for the secret's own target.

    Raises NotFound if the hub has no such role.
    """
    catalogue = workspace.catalogue
    policy, secret = catalogue.access_policies[request.policy], catalogue.secret(request.path)
    own, role = getattr(secret.rotation, "target", ""), database_roles(catalogue.hub).get(policy.gives)
    opens = catalogue.grants[policy.grant].target if policy.grant else role.target if role else ""
    if not own or opens != own:
        problem = f"{policy.gives} is not for the target of {request.path}"
        raise Denied("give", request.id, problem, "Correct the policy in the catalogue")
    if role and (server := workspace.hub.grants().server_of(policy.gives)) != catalogue.targets[own].server:
        problem = f"in the hub, {policy.gives} makes accounts at {server}, which is not the target {own}"
        raise Denied("give", request.id, problem, "Run `keyturn setup hub`, and correct the connection or the target")


def insist_on_known(workspace: Workspace, request: AccessRequest, facts: AccessFacts) -> None:
    """Raise Denied if the requester is unknown and the extra approval is missing.

    The requester's login decides, as the hub reports it now. An ended login proves nothing.
    """
    login = facts.login.login if facts.login else ""
    policy = workspace.catalogue.access_policies[request.policy]
    if workspace.approvals.knows(request.entity, login):
        return
    if request.break_glass:
        raise Denied("give", request.id, unknown_person(login), "Ask for it again by `keyturn login`")
    if len(status_of(workspace, request).approved_by) < (needed := approvals_needed(policy, identified=False)):
        which = f"was made at {login} and" if login else "has ended, so it"
        problem = f"its login {which} does not say which person asks: {needed} have to approve it"
        raise Denied("give", request.id, problem, "Log in yourself (`keyturn login`), and ask for it again")


# --- the steps


def begun(workspace: Workspace, request: AccessRequest, facts: AccessFacts, sight: AccessSight) -> AccessGrant:
    """The grant before its delivery."""
    policy = workspace.catalogue.access_policies[request.policy]
    return AccessGrant(
        request.id,
        request.entity,
        request.path,
        request.policy,
        policy.gives,
        request.digest,
        request.seconds,
        holder=workspace.holder,
        principal=facts.login.principal if facts.login else "",
        incidents=sight.about(request.path) or (),
        account=account_name(request) if policy.grant else "",
    )


def account_name(request: AccessRequest) -> str:
    """The name of a request's account, the same for every attempt."""
    return f"keyturn_{request.id.lower().replace('-', '_')}"


def begin_attempt(
    workspace: Workspace, request: AccessRequest, stored: StoredGrant | None, grant: AccessGrant
) -> StoredGrant:
    """Record the next attempt in advance. Raises Locked if another was first."""
    grant = replace(grant, attempt=stored.grant.attempt + 1 if stored else 1)
    try:
        return StoredGrant(grant, write_grant(workspace, grant, stored.version if stored else 0))
    except Conflict:
        raise Locked("give", request.id, "another process has begun it", "It is tried again by itself") from None


def issue(workspace: Workspace, grant: AccessGrant) -> Delivery:
    """Make the credential and store its wrapping token for the requester.

    Revokes it and raises Conflict if another attempt was stored.
    """
    hub, issued_at = workspace.hub.grants(), workspace.hub_now()
    if grant.account:
        wrapped = make_account(workspace, grant)
    else:
        wrapped = hub.issue_wrapped(grant.credential, grant.place, grant.life)
    ends_at = (issued_at + grant.life).isoformat()
    delivery = Delivery(
        grant.attempt,
        wrapped.token,
        wrapped.accessor,
        wrapped.wrapping,
        issued_at.isoformat(),
        ends_at,
        wrapped_at=wrapped.wrapped_at,
    )
    try:
        publish(workspace, grant, delivery)
    except Conflict:
        # The other attempt's account has the same name: a later run revokes it, or has done so.
        if wrapped.accessor:
            hub.end_token(grant.place, wrapped.accessor)
        raise
    return delivery


def make_account(workspace: Workspace, grant: AccessGrant) -> WrappedCredential:
    """Make an account that expires at the target, and wrap its password."""
    maker, password = open_maker(workspace, grant.credential), generate(PasswordPolicy())
    maker.make(grant.account, grant.mark, password, grant.life)
    fields = SecretFields({"username": grant.account, "password": password.reveal()})
    try:
        return workspace.hub.grants().wrap(fields, grant.life)
    except KeyturnError:
        maker.end(grant.account, grant.mark)
        raise


def publish(workspace: Workspace, grant: AccessGrant, delivery: Delivery) -> None:
    """Replace an older attempt's delivery. Raises Conflict for a newer one."""
    for left in reversed(range(TRIES)):
        current = read_delivery(workspace, grant)
        if current and current.attempt >= delivery.attempt:
            raise Conflict("give", grant.request, "another process has gone on with it", "See `keyturn access show`")
        try:
            workspace.hub.write_state(grant.delivery_place, delivery.to_data(), cas=current.version if current else 0)
        except Conflict:
            if not left:
                raise
        else:
            return


def delivered(workspace: Workspace, grant: AccessGrant) -> Delivery | None:
    """The delivery of this attempt, if any."""
    delivery = read_delivery(workspace, grant)
    return delivery if delivery and delivery.attempt == grant.attempt else None


def complete(workspace: Workspace, stored: StoredGrant, delivery: Delivery) -> AccessGrant:
    """Record the delivery. Revokes the credential and raises Conflict if the grant has ended."""
    grant = replace(
        stored.grant,
        stage=GrantStage.ACTIVE,
        accessor=delivery.accessor,
        wrapping=delivery.wrapping,
        issued_at=delivery.issued_at,
        ends_at=delivery.ends_at,
        wrapped_at=delivery.wrapped_at,
    )
    try:
        write_grant(workspace, grant, stored.version)
    except Conflict:
        current = read_grant(workspace, grant.place)
        if current and current.grant.wrapping == delivery.wrapping:
            return current.grant  # another process has done the same
        if current is None or current.grant.stage in (GrantStage.ENDING, GrantStage.ENDED):
            end_credential(workspace, grant)
        elif not grant.account:
            workspace.hub.grants().end_token(grant.place, delivery.accessor)
        raise
    return grant


def given_words(grant: AccessGrant, delivery: Delivery) -> str:
    """The ledger's note on a delivery."""
    made = f"account {grant.account}" if grant.account else f"token {delivery.accessor}"
    about = f"policy {grant.policy}, digest {grant.digest}, {made}"
    return f"{grant.request}: {grant.credential} until {delivery.ends_at}; {about}"
