"""Open delivered access once, as its requester, or raise an alarm if another party did."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, Rewritten
from keyturn.core.ports.grants import WRAP
from keyturn.core.sensitive import SecretFields
from keyturn.grants.access_request import GRANTS, AccessRequest
from keyturn.grants.grants import Delivery, read_delivery
from keyturn.grants.requests import BEGINS, RequestState, load, status_of
from keyturn.rotation.state.actions import insist_on_name
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import GRANTED, AccessGrant, GrantStage, Receipt, read_grant, receipt_place
from keyturn.rotation.state.journal import record_action

OPEN: Final = "open access"
RETURN: Final = "return access"
"""The name in the ledger."""

PATIENCE: Final = timedelta(seconds=30)
"""How long to wait for a delivery after the approval."""
LOOK: Final = 0.25
"""Seconds between two looks."""


@dataclass(frozen=True)
class OpenedAccess:
    """The opened access, and its end by the hub's clock."""

    grant: AccessGrant
    fields: SecretFields
    ends_at: datetime


Say = Callable[[str], None]


def say_nothing(words: str) -> None:
    """Used without a terminal."""


def open_access(
    workspace: Workspace, name: str, patience: timedelta = PATIENCE, say: Say = say_nothing
) -> OpenedAccess:
    """Open the access of a request of the current login, and wait if its delivery is due.

    Raises Invalid if it was opened before or is not approved, Denied if it has ended, and Rewritten, which ends it, if
    another party has opened it.
    """
    insist_on_name(name, BEGINS)
    grant = await_grant(workspace, name, patience, say)
    with record_action(workspace, OPEN, grant.path, note=f"{name}: {grant.credential}") as doing:
        opened = unwrap(workspace, grant)
        doing.note = (
            f"{name}: {grant.credential}, lease of {int((opened.ends_at - workspace.hub_now()).total_seconds())} s"
        )
    return opened


def return_access(workspace: Workspace, name: str) -> AccessRequest:
    """Return access of the current login: it ends within seconds, or is never delivered.

    Raises NotFound for another's request.
    """
    insist_on_name(name, BEGINS)
    entity = workspace.hub.identity().entity_id
    request = load(workspace, f"{GRANTS}/{entity}/{name}")
    with record_action(workspace, RETURN, request.path, note=name):
        say_receipt(workspace, entity, name, Receipt.RETURNED)
    return request


def await_grant(workspace: Workspace, name: str, patience: timedelta, say: Say = say_nothing) -> AccessGrant:
    """The grant once it is active. Raises Invalid, Denied, NotFound."""
    entity = workspace.hub.identity().entity_id
    for look in range(1 + int(patience.total_seconds() / LOOK)):
        stored = read_grant(workspace, f"{GRANTED}/{entity}/{name}")
        if stored and (stored.grant.stage == GrantStage.ACTIVE or is_ended(workspace, stored.grant)):
            insist_on_active(workspace, stored.grant)
            return stored.grant
        if stored is None:
            insist_on_hope(workspace, entity, name)
        if look == 0:
            giver = "`keyturn serve`, or a run of grant-access, makes the credential"
            say(f"{name} is approved; waiting up to {int(patience.total_seconds())} s until {giver}")
        workspace.sleep(LOOK)
    hint = "See `keyturn access show` and `keyturn status`: it is given by `keyturn serve`, once all conditions hold"
    raise NotFound("open", name, "it is approved, and was not given yet", hint)


def is_ended(workspace: Workspace, grant: AccessGrant) -> bool:
    """Whether it has ended or is ending."""
    return grant.stage in (GrantStage.ENDING, GrantStage.ENDED) or grant.is_over(workspace.hub_now())


def insist_on_active(workspace: Workspace, grant: AccessGrant) -> None:
    """Raise Denied if it has ended."""
    if is_ended(workspace, grant):
        raise ended_error(grant)


def ended_error(grant: AccessGrant) -> Denied:
    """The error for ended access, with the reason."""
    return Denied("open", grant.request, f"it has ended: {grant.because or 'its time is up'}", "Ask for it again")


def insist_on_hope(workspace: Workspace, entity: str, name: str) -> None:
    """Raise Invalid unless the request is approved, NotFound without one."""
    status = status_of(workspace, load(workspace, f"{GRANTS}/{entity}/{name}"))
    if status.state is not RequestState.APPROVED:
        raise Invalid("open", name, status.words, "See `keyturn access show`")


def unwrap(workspace: Workspace, grant: AccessGrant) -> OpenedAccess:
    """Open the wrapping. A receipt is written first, for attribution."""
    hub, delivery = workspace.hub.grants(), own_delivery(workspace, grant)
    path = hub.made_at_path(delivery.token)
    if path is None:
        raise already_opened(workspace, grant)
    if path != (WRAP if grant.account else grant.credential):
        raise stolen(workspace, grant, f"the stored token was wrapped by someone else, at {path}")
    if grant.account and hub.wrapped_at(delivery.token) != grant.wrapped_at:
        raise stolen(workspace, grant, "the stored token was rewrapped by someone else")
    say_receipt(workspace, grant.entity, grant.request, Receipt.OPENED)
    opened = hub.open_wrapped(delivery.token, grant.request)
    if opened is None:
        raise stolen(workspace, grant, "someone else opened it a moment before you")
    ends_at = datetime.fromisoformat(grant.ends_at)
    # A credential made by Keyturn has no lease in the hub.
    own_end = ends_at if grant.account else workspace.hub_now() + opened.ttl
    return OpenedAccess(grant, opened.fields, min(own_end, ends_at))


def own_delivery(workspace: Workspace, grant: AccessGrant) -> Delivery:
    """The delivery of this grant. Raises Rewritten if removed or exchanged."""
    delivery = read_delivery(workspace, grant)
    if delivery is None or attempt_of(delivery) != attempt_of(grant):
        problem = "its wrapping was removed or replaced by an identity that may write Keyturn's state"
        raise Rewritten(
            "open", grant.request, problem, f"End it: `keyturn access end {grant.request}`, and request it again"
        )
    return delivery


def attempt_of(entry: Delivery | AccessGrant) -> tuple[int, str, str]:
    """The values that identify one attempt and its tokens."""
    return entry.attempt, entry.accessor, entry.wrapping


def already_opened(workspace: Workspace, grant: AccessGrant) -> Invalid | Rewritten | Denied:
    """The error for an opened wrapping, with an alarm if the requester left no receipt."""
    stored = read_grant(workspace, grant.place)
    if stored and is_ended(workspace, stored.grant):
        return ended_error(stored.grant)
    if receipt := workspace.hub.read_state(receipt_place(grant.entity, grant.request, Receipt.OPENED)):
        problem = f"it was opened at {receipt.data.get('at')} by {receipt.data.get('by')}, and opens once"
        hint = f"If you did not open it, someone else did: `keyturn access end {grant.request}`, and request it again"
        return Invalid("open", grant.request, problem, hint)
    return stolen(workspace, grant, "someone else opened it before you")


def stolen(workspace: Workspace, grant: AccessGrant, problem: str) -> Rewritten:
    """The error for access in other hands. The granter ends it and alerts."""
    say_receipt(workspace, grant.entity, grant.request, Receipt.STOLEN)
    hint = "It is ended within seconds by `keyturn serve`. Notify the person on call, and request it again"
    return Rewritten("open", grant.request, problem, hint)


def say_receipt(workspace: Workspace, entity: str, name: str, what: Receipt) -> None:
    """Write a receipt once. An existing one is success."""
    entry = {"at": workspace.hub_now().isoformat(), "by": workspace.hub.identity().words}
    place = receipt_place(entity, name, what)
    try:
        workspace.hub.claim_state(place, entry)
    except (Conflict, Denied):
        # A login that may only create entries gets Denied on a second write.
        if workspace.hub.read_state(place) is None:
            raise
