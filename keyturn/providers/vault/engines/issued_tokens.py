"""The tokens with which Keyturn requests credentials from the hub's engines.

No policy can narrow the right to list tokens or end one by its accessor, so Keyturn does neither. It records each token
with its lease before use, and ends it by that lease. Source: "Token auth method (API)" and "/sys/leases" of Vault and
OpenBao.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.issued_tokens import CREATE, IssuedToken, lease_place
from keyturn.core.ports.hub import StatePort
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls

OWNER: Final = "keyturn-secret"
WORKSPACE: Final = "keyturn-state"
THREADS: Final = 16


@dataclass(frozen=True)
class AskingToken:
    token: str
    accessor: str
    life: timedelta | None


@reads_answers("the hub")
class IssuedTokens:
    def __init__(self, calls: Calls, state: StatePort, role: str, folder: str, workspace: str) -> None:
        self._calls = calls
        self._state = state
        self._role = role
        self._folder = folder
        self._workspace = workspace

    def make(self, owner: str, **limits: object) -> AskingToken:
        """Ends the token and raises if its record fails."""
        path, before = f"{CREATE}/{self._role}", frozenset(self._leases())
        body = {"meta": {OWNER: owner, WORKSPACE: self._workspace}, **limits}
        answer = self._calls.post("create", path, path, body).json()["auth"]
        token = AskingToken(answer["client_token"], str(answer["accessor"]), lasting(answer["lease_duration"]))
        try:
            lease = self._lease_of(token, before)
            self._state.claim_state(self._place(owner, token.accessor), {"lease": lease})
        except KeyturnError:
            self.give_back(owner, token)
            raise
        return token

    def give_back(self, owner: str, token: AskingToken) -> None:
        name = f"the token {token.accessor}"
        self._calls.post("give back", name, "auth/token/revoke-self", {}, token=token.token)
        self._state.delete_state(self._place(owner, token.accessor))

    def of(self, owner: str) -> list[str]:
        beginning = self._place(owner, "")
        names = (place.removeprefix(beginning) for place in self._state.list_state(beginning.rstrip("/")))
        return [name for name in names if "/" not in name and self.lives(owner, name)]

    def lives(self, owner: str, accessor: str) -> bool:
        lease = self._recorded(self._place(owner, accessor))
        return bool(lease) and self._look(lease) is not None

    def end(self, owner: str, accessor: str) -> None:
        self._end_at(self._place(owner, accessor))

    def _end_at(self, place: str) -> None:
        if lease := self._recorded(place):
            self._revoke(lease)
            self._state.delete_state(place)

    def end_all(self, owner: str) -> None:
        for place in list(self._state.list_state(self._place(owner, "").rstrip("/"))):
            self._end_at(place)

    def all(self) -> list[IssuedToken]:
        """Every living token of the role, recorded or not."""
        leases = self._leases()
        with ThreadPoolExecutor(THREADS) as pool:
            places = list(self._state.list_state(self._folder)) if leases else []
            recorded = zip(pool.map(self._recorded, places), places, strict=True)
            named = {lease: place.rpartition("/")[2] for lease, place in recorded}
            looks = zip(leases, pool.map(self._look, leases), strict=True)
            return [IssuedToken(lease, moment(about), named.get(lease, "")) for lease, about in looks if about]

    def _leases(self) -> list[str]:
        place = lease_place(self._role)
        return [place + name for name in self._calls.list(f"the tokens of {self._role}", f"sys/leases/lookup/{place}")]

    def _lease_of(self, token: AskingToken, before: frozenset[str]) -> str:
        """The lease that began with the token, to the nanosecond."""
        name = f"the token {token.accessor}"
        answer = self._calls.get("look up", name, "auth/token/lookup-self", token=token.token).json()
        begun = str(answer["data"]["issue_time"])
        new = [lease for lease in self._leases() if lease not in before]
        own = [lease for lease in new if (about := self._look(lease)) and about["issue_time"] == begun]
        if len(own) != 1:
            raise Unavailable("find", f"the lease of {name}", f"the hub lists {len(own)}", "It is tried again")
        return own[0]

    def _look(self, lease: str) -> Mapping[str, Any] | None:
        try:
            answer = self._calls.post("look up", lease, "sys/leases/lookup", {"lease_id": lease}).json()
        except (NotFound, Invalid):
            return None
        return dict(answer["data"])

    def _revoke(self, lease: str) -> None:
        if not lease.startswith(lease_place(self._role)):
            problem = f"its record names a lease of something else: {lease[:100]!r}"
            raise Invalid("end", f"a token of {self._role}", problem, "See who has written the record")
        self._calls.post("end", lease, f"sys/leases/revoke/{lease}", {"sync": True})

    def _recorded(self, place: str) -> str:
        state = self._state.read_state(place)
        return str(state.data.get("lease", "")) if state else ""

    def _place(self, owner: str, accessor: str) -> str:
        return "/".join((self._folder, *filter(None, (owner,)), accessor))


def moment(lease: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(lease["issue_time"])


def lasting(seconds: float) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None
