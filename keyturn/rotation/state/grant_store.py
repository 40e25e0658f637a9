"""Temporary access grants in the hub, and how they end.

Each grant is one entry without values. The granter, and a revocation of the secret, write it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from keyturn.catalogue.access_policies import SECTION
from keyturn.core.errors import Invalid, Locked, NotFound, Unrecorded
from keyturn.core.ports.grants import AccountMaker
from keyturn.rotation.state.context import Workspace, alive
from keyturn.rotation.state.entries import read_entries, update_state
from keyturn.rotation.state.hourly_limits import speak_up
from keyturn.rotation.state.journal import record_action

GRANTED: Final = "granted"
"""Path of grants in Keyturn's mount: ``granted/<entity>/<request>``."""
DELIVERIES: Final = "deliveries"
"""Path of the tokens that unwrap the credentials, readable by the requester only."""

RECEIPTS: Final = "receipts"
"""Path of the requester's receipts: ``receipts/<entity>/<request>.<what>``."""

END: Final = "end access"
"""The ledger's action for the end of a grant."""
ALARM: Final = "access in other hands"
"""The action in the ledger and in the announcement."""

ADDED: Final = ("account", "wrapped_at")
"""Written only where set, so that older programs can read the other grants."""

TAKE_OVER: Final = 20.0
"""Seconds without a write from a granter whose state is unknown, before another process continues."""


class GrantStage(StrEnum):
    """The stage of a grant. It is never given again once it has ended."""

    ISSUING = "issuing"
    ACTIVE = "active"
    ENDING = "ending"
    ENDED = "ended"


class Receipt(StrEnum):
    """What a requester reports about the credential."""

    OPENED = "opened"
    STOLEN = "stolen"
    """Another person or process opened it first."""
    RETURNED = "returned"


@dataclass(frozen=True)
class AccessGrant:
    """The access given for a request. ``digest`` is the request's; ``attempt`` counts the starts.

    ``accessor`` names the credential's token, ``wrapping`` the unwrapping one; neither is secret. ``incidents`` about
    the secret began earlier. ``principal`` is the holder in the hub's audit log. ``alarm``: another person may have
    the credential. ``account`` is one that Keyturn made at a target; ``wrapped_at`` is by the hub's clock.
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
    account: str = ""
    wrapped_at: str = ""

    @property
    def mark(self) -> str:
        """Its name at a target."""
        return f"{self.entity}/{self.request}"

    @property
    def place(self) -> str:
        """Its path in Keyturn's mount, which the metadata of the requesting token also contains."""
        return f"{GRANTED}/{self.entity}/{self.request}"

    @property
    def delivery_place(self) -> str:
        """The path of the token that unwraps it."""
        return f"{DELIVERIES}/{self.entity}/{self.request}"

    @property
    def life(self) -> timedelta:
        """How long it lasts."""
        return timedelta(seconds=self.seconds)

    def having_ended(self, at: str) -> "AccessGrant":
        """The grant as ended; the first end time counts."""
        return replace(self, stage=GrantStage.ENDED, ended_at=self.ended_at or at)

    def is_over(self, now: datetime) -> bool:
        """Whether it has expired, so that the hub has ended it."""
        return bool(self.ends_at) and now >= datetime.fromisoformat(self.ends_at)


@dataclass(frozen=True)
class StoredGrant:
    """A grant in the hub: its entry's version, and the seconds since that was written."""

    grant: AccessGrant
    version: int
    age: float = 0.0


# --- as the hub has them


def receipt_place(entity: str, request: str, what: Receipt) -> str:
    """The path of a requester's receipt."""
    return f"{RECEIPTS}/{entity}/{request}.{what}"


def read_grant(workspace: Workspace, place: str) -> StoredGrant | None:
    """The grant at a place; None where there is none. Raises Invalid for other data."""
    state = workspace.hub.read_state(place)
    if state is None:
        return None
    try:
        grant = grant_from(json.loads(state.data["grant"]))
        if grant.place != place:
            raise ValueError("place")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise malformed_entry(workspace, place, "grant") from None
    return StoredGrant(grant, state.version, state.age)


def grant_from(data: Mapping[str, Any]) -> AccessGrant:
    """The grant. Raises TypeError and ValueError for other data."""
    grant = AccessGrant(**{**data, "incidents": tuple(data.get("incidents", ()))})
    GrantStage(grant.stage)
    for moment in filter(None, (grant.issued_at, grant.ends_at)):
        datetime.fromisoformat(moment)
    return grant


def grant_data(grant: AccessGrant) -> dict[str, str]:
    """The hub's form of the grant."""
    about = asdict(grant)
    return {"grant": json.dumps({name: value for name, value in about.items() if value or name not in ADDED})}


def write_grant(workspace: Workspace, grant: AccessGrant, over: int) -> int:
    """Write the grant over version ``over`` and return the new version. Raises Conflict where another write came
    first.
    """
    return workspace.hub.write_state(grant.place, grant_data(grant), cas=over)


def update_grant(workspace: Workspace, place: str, change: Callable[[AccessGrant], AccessGrant]) -> AccessGrant:
    """Apply a change by compare-and-set with retries, and return the result."""

    def load() -> tuple[AccessGrant, int]:
        stored = read_grant(workspace, place)
        if stored is None:
            raise malformed_entry(workspace, place, "grant")
        return stored.grant, stored.version

    return update_state(workspace, place, load, change, grant_data)


def malformed_entry(workspace: Workspace, place: str, what: str) -> Invalid:
    """The error for an entry that another writer made."""
    hint = f"See the hub's audit log for who wrote it: `vault kv metadata get {workspace.hub.state_mount}/{place}`"
    return Invalid("read", place, f"the entry is not a {what} of its folder's owner", hint)


def list_grants(workspace: Workspace) -> tuple[list[AccessGrant], list[Invalid]]:
    """Every grant, unordered, and the errors of malformed entries."""

    def grant_at(place: str) -> AccessGrant | None:
        stored = read_grant(workspace, place)
        return stored.grant if stored else None

    return read_entries(workspace, GRANTED, grant_at)


# --- the end


@dataclass(frozen=True)
class Ending:
    """Why a grant ends. ``alarm``: another person may have the credential."""

    why: str
    alarm: bool = False


def end_grant(workspace: Workspace, grant: AccessGrant, ending: Ending) -> None:
    """End a grant: its token, account and sessions. Already ended is success.

    Saves stage ENDING first, so that another process can continue and no theft is reported. Where the ledger fails,
    the grant still ends, Unrecorded is raised, and the next sweep records it. Raises Locked while a granter may still
    be issuing it: a later run ends that.
    """
    busy = is_being_given(workspace, grant.place)
    try:
        with record_action(workspace, END, grant.path, note=f"{grant.request}: {ending.why}"):
            cut_off(workspace, grant, ending)
            if busy:
                raise Locked(
                    "end", grant.request, f"{grant.holder} may be giving it", "It is ended once more by itself"
                )
            at = workspace.hub_now().isoformat()
            update_grant(workspace, grant.place, lambda current: current.having_ended(at))
    except Unrecorded:
        cut_off(workspace, grant, ending)
        raise
    if ending.alarm:
        speak_up(workspace, ALARM, f"{grant.request}: {ending.why}; {grant.path}, policy {grant.policy}")


def is_being_given(workspace: Workspace, place: str) -> bool:
    """Whether another process may be about to make an unrecorded credential for it."""
    stored = read_grant(workspace, place)
    if stored is None or stored.grant.wrapping or stored.grant.stage == GrantStage.ENDED:
        return False
    holder = stored.grant.holder
    return stored.age <= TAKE_OVER and holder != workspace.holder and alive(holder) is not False


def cut_off(workspace: Workspace, grant: AccessGrant, ending: Ending) -> None:
    """Save stage ENDING and end the credential."""

    def ends(current: AccessGrant) -> AccessGrant:
        if current.stage in (GrantStage.ENDING, GrantStage.ENDED):
            return current
        return replace(current, stage=GrantStage.ENDING, because=ending.why, alarm=ending.alarm)

    end_credential(workspace, update_grant(workspace, grant.place, ends))


def end_credential(workspace: Workspace, grant: AccessGrant) -> None:
    """End the grant's account, or every token recorded for it."""
    if grant.account:
        open_maker(workspace, grant.credential).end(grant.account, grant.mark)
    else:
        workspace.hub.grants().end_tokens(grant.place)


def open_maker(workspace: Workspace, credential: str) -> AccountMaker:
    """The maker of accounts for an entry of `grants`. Raises NotFound where it is not declared."""
    name = credential.removeprefix(f"{SECTION}/")
    if workspace.open_maker is None or name not in workspace.catalogue.grants:
        hint = "Put it back there until what was given by it has ended"
        raise NotFound("open", credential, "the catalogue declares it no more", hint)
    return workspace.open_maker(name)
