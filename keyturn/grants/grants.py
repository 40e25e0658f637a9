"""The delivery of a grant, and the combined status of a request and its grant.

Only the requester may read the delivery. They may create receipts for it, but not change them.
"""

from dataclasses import dataclass
from typing import Any, Final

from keyturn.core.errors import Denied
from keyturn.core.sensitive import Sensitive
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.requests import RequestState, status_of
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import AccessGrant, GrantStage, malformed_entry, read_grant

GIVE: Final = "give access"
"""The name of a delivery in the ledger."""


@dataclass(frozen=True)
class Delivery:
    """The wrapping token of one attempt, and both tokens' accessors."""

    attempt: int
    token: Sensitive
    accessor: str
    wrapping: str
    issued_at: str
    ends_at: str
    version: int = 0
    wrapped_at: str = ""

    def to_data(self) -> dict[str, Any]:
        """The delivery as JSON data."""
        named = {name: getattr(self, name) for name in ("attempt", "accessor", "wrapping", "issued_at", "ends_at")}
        return {**named, "token": self.token.reveal(), "wrapped_at": self.wrapped_at}


def read_delivery(workspace: Workspace, grant: AccessGrant) -> Delivery | None:
    """The newest delivery of a grant, or None. Raises Invalid."""
    state = workspace.hub.read_state(grant.delivery_place)
    if state is None:
        return None
    try:
        data = dict(state.data)
        named = {name: str(data[name]) for name in ("accessor", "wrapping", "issued_at", "ends_at")}
        return Delivery(
            int(data["attempt"]),
            Sensitive(str(data["token"])),
            **named,
            version=state.version,
            wrapped_at=str(data.get("wrapped_at", "")),
        )
    except (ValueError, TypeError, KeyError):
        raise malformed_entry(workspace, grant.delivery_place, "delivery") from None


# --- for people


@dataclass(frozen=True)
class AccessStatus:
    """The status of a request and its grant. ``until`` is empty without active access."""

    state: str
    approved_by: tuple[str, ...] = ()
    until: str = ""
    problems: tuple[str, ...] = ()


def access_status(workspace: Workspace, request: AccessRequest) -> AccessStatus:
    """The state of a request or its grant. Hidden parts are reported as problems."""
    status, hidden, stored = status_of(workspace, request), "", None
    try:
        stored = read_grant(workspace, request.grant_place)
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
