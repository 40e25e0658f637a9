"""What was given for a request, as the hub keeps it: one entry for each, which the granter alone writes.

It names no value. What opens the credential lies beside it where the requester alone may read it, and what they say of
it, that they have opened it or need it no more, in entries that they may make and not change.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from keyturn.core.errors import Denied, Invalid
from keyturn.core.sensitive import Sensitive
from keyturn.grants.requests import AccessRequest, RequestState, status_of
from keyturn.rotation.context import Workspace
from keyturn.rotation.entries import read_entries, update_state

GRANTED: Final = "granted"
"""Where grants lie in Keyturn's own mount: ``granted/<entity>/<request>``."""
DELIVERIES: Final = "deliveries"
"""Where that lies which opens their credentials, for the requester alone."""
RECEIPTS: Final = "receipts"
"""Where the requester says what they have done: ``receipts/<entity>/<request>.<what>``."""

GIVE: Final = "give access"
"""What the ledger calls a delivery."""
END: Final = "end access"
"""What it calls the end of what was given."""


class GrantStage(StrEnum):
    """How far a grant is. It is never given again once it has ended."""

    ISSUING = "issuing"
    ACTIVE = "active"
    ENDING = "ending"
    ENDED = "ended"


class Receipt(StrEnum):
    """What a requester says of what they were given."""

    OPENED = "opened"
    STOLEN = "stolen"
    """Somebody else has opened it before them."""
    RETURNED = "returned"


@dataclass(frozen=True)
class AccessGrant:
    """What was given for a request. ``digest`` is the request's; ``attempt`` counts how often it was begun.

    ``accessor`` names the token that the credential ends with, ``wrapping`` the one that opens it; neither is a secret.
    ``incidents`` are those about the secret that had begun before. ``principal`` is what the hub's audit log calls
    whoever has it. It ended with an ``alarm`` where somebody else may have had it.
    """

    request: str
    entity: str
    path: str
    policy: str
    credential: str
    digest: str
    seconds: int
    stage: str = GrantStage.ISSUING
    attempt: int = 1
    holder: str = ""
    principal: str = ""
    issued_at: str = ""
    ends_at: str = ""
    accessor: str = ""
    wrapping: str = ""
    incidents: tuple[str, ...] = ()
    opened_at: str = ""
    ended_at: str = ""
    because: str = ""
    alarm: bool = False

    @property
    def place(self) -> str:
        """Where it lies in Keyturn's own mount; the token that asks for the credential tells it, too."""
        return f"{GRANTED}/{self.entity}/{self.request}"

    @property
    def delivery_place(self) -> str:
        """Where that lies which opens it."""
        return f"{DELIVERIES}/{self.entity}/{self.request}"

    @property
    def life(self) -> timedelta:
        """How long it lasts."""
        return timedelta(seconds=self.seconds)

    def having_ended(self, at: str) -> "AccessGrant":
        """The same once it has ended; the first time counts."""
        return replace(self, stage=GrantStage.ENDED, ended_at=self.ended_at or at)

    def is_over(self, now: datetime) -> bool:
        """Whether its time is up: then the hub has ended it by itself."""
        return bool(self.ends_at) and now >= datetime.fromisoformat(self.ends_at)


@dataclass(frozen=True)
class StoredGrant:
    """A grant as it stands in the hub: its entry's version, and how many seconds ago that was written."""

    grant: AccessGrant
    version: int
    age: float = 0.0


@dataclass(frozen=True)
class Delivery:
    """What opens the credential of one attempt, and what names both tokens."""

    attempt: int
    token: Sensitive
    accessor: str
    wrapping: str
    issued_at: str
    ends_at: str
    version: int = 0

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        named = {name: getattr(self, name) for name in ("attempt", "accessor", "wrapping", "issued_at", "ends_at")}
        return {**named, "token": self.token.reveal()}


def receipt_place(entity: str, request: str, what: Receipt) -> str:
    """Where a requester says so."""
    return f"{RECEIPTS}/{entity}/{request}.{what}"


def grant_place(request: AccessRequest) -> str:
    """Where the grant for a request lies."""
    return f"{GRANTED}/{request.entity}/{request.id}"


# --- as the hub has them


def read_grant(workspace: Workspace, place: str) -> StoredGrant | None:
    """The grant at a place; None where there is none. Raises Invalid for what does not belong there."""
    state = workspace.hub.read_state(place)
    if state is None:
        return None
    try:
        grant = grant_from(json.loads(state.data["grant"]))
        if grant.place != place:
            raise ValueError("place")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise malformed(workspace, place, "grant") from None
    return StoredGrant(grant, state.version, state.age)


def grant_from(data: Mapping[str, Any]) -> AccessGrant:
    """The grant. Raises TypeError and ValueError for what is none."""
    grant = AccessGrant(**{**data, "incidents": tuple(data.get("incidents", ()))})
    GrantStage(grant.stage)
    for moment in filter(None, (grant.issued_at, grant.ends_at)):
        datetime.fromisoformat(moment)
    return grant


def grant_data(grant: AccessGrant) -> dict[str, str]:
    """As the hub keeps it."""
    return {"grant": json.dumps(asdict(grant))}


def write_grant(workspace: Workspace, grant: AccessGrant, over: int) -> int:
    """Write it over that version; the new one. Raises Conflict where somebody else came first."""
    return workspace.hub.write_state(grant.place, grant_data(grant), cas=over)


def update_grant(workspace: Workspace, place: str, change: Callable[[AccessGrant], AccessGrant]) -> AccessGrant:
    """Lay a change over a grant, whoever else writes it; what stands there then."""

    def load() -> tuple[AccessGrant, int]:
        stored = read_grant(workspace, place)
        if stored is None:
            raise malformed(workspace, place, "grant")
        return stored.grant, stored.version

    return update_state(workspace, place, load, change, grant_data)


def read_delivery(workspace: Workspace, grant: AccessGrant) -> Delivery | None:
    """What opens the newest attempt that was delivered; None where there is none. Raises Invalid."""
    state = workspace.hub.read_state(grant.delivery_place)
    if state is None:
        return None
    try:
        data = dict(state.data)
        named = {name: str(data[name]) for name in ("accessor", "wrapping", "issued_at", "ends_at")}
        return Delivery(int(data["attempt"]), Sensitive(str(data["token"])), **named, version=state.version)
    except (ValueError, TypeError, KeyError):
        raise malformed(workspace, grant.delivery_place, "delivery") from None


def malformed(workspace: Workspace, place: str, what: str) -> Invalid:
    """Somebody else has written there."""
    hint = f"See the hub's audit log for who wrote it: `vault kv metadata get {workspace.hub.state_mount}/{place}`"
    return Invalid("read", place, f"the entry is no {what} of whoever's folder it lies in", hint)


def list_grants(workspace: Workspace) -> tuple[list[AccessGrant], list[Invalid]]:
    """Every grant, in no order, and what is wrong with entries that are none."""

    def grant_at(place: str) -> AccessGrant | None:
        stored = read_grant(workspace, place)
        return stored.grant if stored else None

    return read_entries(workspace, GRANTED, grant_at)


# --- for people


@dataclass(frozen=True)
class AccessStatus:
    """How a request and what was given for it stand together. ``until`` is empty where nothing is given now."""

    state: str
    approved_by: tuple[str, ...] = ()
    until: str = ""
    problems: tuple[str, ...] = ()


def access_status(workspace: Workspace, request: AccessRequest) -> AccessStatus:
    """A request's state, or that of its grant once there is one; what can't be seen of that is said."""
    status, hidden, stored = status_of(workspace, request), "", None
    try:
        stored = read_grant(workspace, grant_place(request))
    except Denied as error:
        hidden = f"whether it was given can't be seen by this login: {error.problem}"
    problems = (*status.problems, *filter(None, (hidden,)))
    if stored is None:
        return AccessStatus(status.state, status.approved_by, problems=problems)
    grant = stored.grant
    if grant.stage == GrantStage.ENDED or grant.is_over(workspace.hub_now()):
        why = grant.because or "its time is up"
        return AccessStatus(GrantStage.ENDED, status.approved_by, problems=(*problems, why))
    if status.state in (RequestState.DENIED, RequestState.ENDED):
        problems = (*problems, "what was given ends within seconds, by `keyturn serve`")
    return AccessStatus(GrantStage(grant.stage), status.approved_by, grant.ends_at, problems)
