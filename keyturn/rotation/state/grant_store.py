"""What was given to somebody for a while, as the hub keeps it, and ending it.

Each grant is one entry, which names no value. Whoever gives writes it, and whoever ends it: the granter, and a
revocation of what it is about.
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
"""Where grants lie in Keyturn's own mount: ``granted/<entity>/<request>``."""
DELIVERIES: Final = "deliveries"
"""Where that lies which opens their credentials, for the requester alone."""

RECEIPTS: Final = "receipts"
"""Where the requester says what they have done: ``receipts/<entity>/<request>.<what>``."""

END: Final = "end access"
"""What the ledger calls the end of what was given."""
ALARM: Final = "access in other hands"
"""What the ledger calls it, and people are told."""

ADDED: Final = ("account", "wrapped_at")
"""What is written where it says something alone: older programs read the others on."""

TAKE_OVER: Final = 20.0
"""Seconds without a word from a granter of whom nobody can tell whether it runs, before another goes on."""


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
    whoever has it. It ended with an ``alarm`` where somebody else may have had it. ``account`` is what Keyturn has made
    at a target itself, and is empty where the hub has; ``wrapped_at`` is when that was wrapped, as the hub tells it.
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
        """What names it at a target."""
        return f"{self.entity}/{self.request}"

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


# --- as the hub has them


def receipt_place(entity: str, request: str, what: Receipt) -> str:
    """Where a requester says so."""
    return f"{RECEIPTS}/{entity}/{request}.{what}"


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
        raise malformed_entry(workspace, place, "grant") from None
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
    about = asdict(grant)
    return {"grant": json.dumps({name: value for name, value in about.items() if value or name not in ADDED})}


def write_grant(workspace: Workspace, grant: AccessGrant, over: int) -> int:
    """Write it over that version; the new one. Raises Conflict where somebody else came first."""
    return workspace.hub.write_state(grant.place, grant_data(grant), cas=over)


def update_grant(workspace: Workspace, place: str, change: Callable[[AccessGrant], AccessGrant]) -> AccessGrant:
    """Lay a change over a grant, whoever else writes it; what stands there then."""

    def load() -> tuple[AccessGrant, int]:
        stored = read_grant(workspace, place)
        if stored is None:
            raise malformed_entry(workspace, place, "grant")
        return stored.grant, stored.version

    return update_state(workspace, place, load, change, grant_data)


def malformed_entry(workspace: Workspace, place: str, what: str) -> Invalid:
    """Somebody else has written there."""
    hint = f"See the hub's audit log for who wrote it: `vault kv metadata get {workspace.hub.state_mount}/{place}`"
    return Invalid("read", place, f"the entry is no {what} of whoever's folder it lies in", hint)


def list_grants(workspace: Workspace) -> tuple[list[AccessGrant], list[Invalid]]:
    """Every grant, in no order, and what is wrong with entries that are none."""

    def grant_at(place: str) -> AccessGrant | None:
        stored = read_grant(workspace, place)
        return stored.grant if stored else None

    return read_entries(workspace, GRANTED, grant_at)


# --- the end


@dataclass(frozen=True)
class Ending:
    """Why a grant ends. It is an ``alarm`` where somebody else may have the credential."""

    why: str
    alarm: bool = False


def end_grant(workspace: Workspace, grant: AccessGrant, ending: Ending) -> None:
    """End what was given: its account goes with its token, and sessions with that. Ended before is success.

    That it ends stands in the hub first: whoever comes next goes on, and nobody takes the end for a theft. It waits for
    no ledger: where that can't be written it is ended all the same, Unrecorded is raised, and the next sweep records
    it. Raises Locked while a granter may be giving it still: what it makes is looked for once more then.
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
    """Whether some other process may be about to make a credential for it that nobody knows of yet."""
    stored = read_grant(workspace, place)
    if stored is None or stored.grant.wrapping or stored.grant.stage == GrantStage.ENDED:
        return False
    holder = stored.grant.holder
    return stored.age <= TAKE_OVER and holder != workspace.holder and alive(holder) is not False


def cut_off(workspace: Workspace, grant: AccessGrant, ending: Ending) -> None:
    """Say that it ends, and end its credential."""

    def ends(current: AccessGrant) -> AccessGrant:
        if current.stage in (GrantStage.ENDING, GrantStage.ENDED):
            return current
        return replace(current, stage=GrantStage.ENDING, because=ending.why, alarm=ending.alarm)

    end_credential(workspace, update_grant(workspace, grant.place, ends))


def end_credential(workspace: Workspace, grant: AccessGrant) -> None:
    """End whatever was ever made for it: its account, or every token that is recorded for it."""
    if grant.account:
        open_maker(workspace, grant.credential).end(grant.account, grant.mark)
    else:
        workspace.hub.grants().end_tokens(grant.place)


def open_maker(workspace: Workspace, credential: str) -> AccountMaker:
    """What makes and ends the accounts of an entry of `grants`. Raises NotFound where nothing declares it now."""
    name = credential.removeprefix(f"{SECTION}/")
    if workspace.open_maker is None or name not in workspace.catalogue.grants:
        hint = "Put it back there until what was given by it has ended"
        raise NotFound("open", credential, "the catalogue declares it no more", hint)
    return workspace.open_maker(name)
