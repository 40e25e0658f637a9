"""Opening what was given: once, by whoever asked for it; where somebody else came first, that is an alarm."""

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
"""What the ledger calls it."""

PATIENCE: Final = timedelta(seconds=30)
"""How long a delivery is waited for once the request is approved."""
LOOK: Final = 0.25
"""Seconds between two looks."""


@dataclass(frozen=True)
class OpenedAccess:
    """What was given, and until when by the hub's clock."""

    grant: AccessGrant
    fields: SecretFields
    ends_at: datetime


Say = Callable[[str], None]


def say_nothing(words: str) -> None:
    """Where nobody waits before a terminal."""


def open_access(
    workspace: Workspace, name: str, patience: timedelta = PATIENCE, say: Say = say_nothing
) -> OpenedAccess:
    """Open what was given for a request of whoever is logged in. What was approved a moment ago is waited for.

    What it waits for is told once by ``say``.

    Raises Invalid where it was opened before or is not approved, Denied where it has ended, and Rewritten where
    somebody else has opened it: then it is ended.
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
    """Say that whoever is logged in needs no more what they have asked for: it ends within seconds, or is never given.

    Raises NotFound for what is nobody's request of theirs.
    """
    insist_on_name(name, BEGINS)
    entity = workspace.hub.identity().entity_id
    request = load(workspace, f"{GRANTS}/{entity}/{name}")
    with record_action(workspace, RETURN, request.path, note=name):
        say_receipt(workspace, entity, name, Receipt.RETURNED)
    return request


def await_grant(workspace: Workspace, name: str, patience: timedelta, say: Say = say_nothing) -> AccessGrant:
    """The grant, once it is active. Raises Invalid, Denied, NotFound."""
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
    """Whether it has ended, or does now."""
    return grant.stage in (GrantStage.ENDING, GrantStage.ENDED) or grant.is_over(workspace.hub_now())


def insist_on_active(workspace: Workspace, grant: AccessGrant) -> None:
    """Raises Denied where it has ended."""
    if is_ended(workspace, grant):
        raise ended_error(grant)


def ended_error(grant: AccessGrant) -> Denied:
    """That it has ended, and why."""
    return Denied("open", grant.request, f"it has ended: {grant.because or 'its time is up'}", "Ask for it again")


def insist_on_hope(workspace: Workspace, entity: str, name: str) -> None:
    """Raises Invalid where nothing will be given, or not without others. Raises NotFound where nobody has asked."""
    status = status_of(workspace, load(workspace, f"{GRANTS}/{entity}/{name}"))
    if status.state is not RequestState.APPROVED:
        raise Invalid("open", name, status.words, "See `keyturn access show`")


def unwrap(workspace: Workspace, grant: AccessGrant) -> OpenedAccess:
    """What the wrapping holds. That it is about to be opened is said first, so that who has opened it is known."""
    hub, delivery = workspace.hub.grants(), own_delivery(workspace, grant)
    path = hub.made_at_path(delivery.token)
    if path is None:
        raise already_opened(workspace, grant)
    if path != (WRAP if grant.account else grant.credential):
        raise stolen(workspace, grant, f"what lies there was wrapped by somebody else, at {path}")
    if grant.account and hub.wrapped_at(delivery.token) != grant.wrapped_at:
        raise stolen(workspace, grant, "what lies there was wrapped anew by somebody else")
    say_receipt(workspace, grant.entity, grant.request, Receipt.OPENED)
    opened = hub.open_wrapped(delivery.token, grant.request)
    if opened is None:
        raise stolen(workspace, grant, "somebody else has opened it a moment before you")
    ends_at = datetime.fromisoformat(grant.ends_at)
    # What Keyturn has made itself has no lease of the hub's.
    own_end = ends_at if grant.account else workspace.hub_now() + opened.ttl
    return OpenedAccess(grant, opened.fields, min(own_end, ends_at))


def own_delivery(workspace: Workspace, grant: AccessGrant) -> Delivery:
    """What opens this grant, which the granter writes before the grant is active. Raises Rewritten where it is not."""
    delivery = read_delivery(workspace, grant)
    if delivery is None or attempt_of(delivery) != attempt_of(grant):
        problem = "what opens it was removed or exchanged by somebody who may write Keyturn's state"
        raise Rewritten("open", grant.request, problem, f"End it: `keyturn access end {grant.request}`, and ask again")
    return delivery


def attempt_of(entry: Delivery | AccessGrant) -> tuple[int, str, str]:
    """What names one attempt and its tokens."""
    return entry.attempt, entry.accessor, entry.wrapping


def already_opened(workspace: Workspace, grant: AccessGrant) -> Invalid | Rewritten | Denied:
    """Who has opened it, as far as that is known; where it was nobody of the requester's, that is an alarm."""
    stored = read_grant(workspace, grant.place)
    if stored and is_ended(workspace, stored.grant):
        return ended_error(stored.grant)
    if receipt := workspace.hub.read_state(receipt_place(grant.entity, grant.request, Receipt.OPENED)):
        problem = f"it was opened at {receipt.data.get('at')} by {receipt.data.get('by')}, and opens once"
        hint = f"Where you have not got it, somebody else has: `keyturn access end {grant.request}`, and ask again"
        return Invalid("open", grant.request, problem, hint)
    return stolen(workspace, grant, "somebody else has opened it before you")


def stolen(workspace: Workspace, grant: AccessGrant, problem: str) -> Rewritten:
    """That it is in other hands. The granter ends it, and lets whoever is on call know."""
    say_receipt(workspace, grant.entity, grant.request, Receipt.STOLEN)
    hint = "It is ended within seconds by `keyturn serve`. Let whoever is on call know, and ask again"
    return Rewritten("open", grant.request, problem, hint)


def say_receipt(workspace: Workspace, entity: str, name: str, what: Receipt) -> None:
    """Say so, once and for all; said before is success."""
    entry = {"at": workspace.hub_now().isoformat(), "by": workspace.hub.identity().words}
    place = receipt_place(entity, name, what)
    try:
        workspace.hub.claim_state(place, entry)
    except (Conflict, Denied):
        # Who may make an entry alone is denied to change one.
        if workspace.hub.read_state(place) is None:
            raise
