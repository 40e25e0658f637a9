"""Check all active grants and end the invalid ones. What can't be checked ends nothing.

The hub ends each credential when it expires. The sweep ends it earlier if it is returned or revoked, if its holder may
no longer have it, or if it may be in other hands.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.catalogue.access_policies import SECTION
from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.grants.access_request import ARCHIVE, GRANTS, AccessRequest
from keyturn.grants.archive import Archivist
from keyturn.grants.delivery import GONE
from keyturn.grants.gather_facts import AccessSight, FindAlert
from keyturn.grants.requests import RequestState, load, status_of, valid_approvals
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.grant_store import (
    END,
    GRANTED,
    RECEIPTS,
    TAKE_OVER,
    AccessGrant,
    Ending,
    GrantStage,
    Receipt,
    StoredGrant,
    end_grant,
    open_maker,
    read_grant,
    receipt_place,
    update_grant,
)
from keyturn.rotation.state.journal import record_action

OVER: Final = "its time is up"
TICK: Final = timedelta(seconds=2)
"""Tolerance for the hub's end of a token, which is in whole seconds."""

AT_ONCE: Final = 16
"""Grants checked concurrently."""


def no_alerts(principal: str, since: datetime) -> str:
    """Used where reads are not monitored."""
    return ""


@dataclass
class SweepResult:
    """The result of one sweep: active and ended grants, and errors."""

    active: int = 0
    ended: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, KeyturnError] = field(default_factory=dict)


class Sweeper:
    """Checks all grants repeatedly. Used by one thread."""

    def __init__(self, alerts: FindAlert = no_alerts) -> None:
        self._alerts = alerts
        self._settled: set[str] = set()
        self._archivist = Archivist()

    def sweep(self, workspace: Workspace) -> SweepResult:
        """Check each grant that has not ended. One failure stops no other. Raises if listing fails."""
        places = [place for place in workspace.hub.list_state(GRANTED) if place not in self._settled]
        result = SweepResult()
        if places:
            self._sweep_places(workspace, places, result)
        for name in workspace.catalogue.grants:
            try:
                end_leftovers(workspace, f"{SECTION}/{name}", result)
            except KeyturnError as error:
                result.troubles[f"{SECTION}/{name}"] = error
        try:
            self._archivist.look(workspace)
        except KeyturnError as error:
            result.troubles[ARCHIVE] = error
        return result

    def _sweep_places(self, workspace: Workspace, places: list[str], result: SweepResult) -> None:
        receipts = frozenset(workspace.hub.list_state(RECEIPTS))
        look = GrantLook(workspace, AccessSight(workspace, self._alerts), receipts, self._alerts)
        for place, outcome in zip(places, side_by_side(look.attempt, places, AT_ONCE), strict=True):
            self._add(result, place, outcome)

    def _add(self, result: SweepResult, place: str, outcome: "Outcome") -> None:
        if isinstance(outcome, KeyturnError):
            result.troubles[place] = outcome
        elif outcome is None:
            result.active += 1
        else:
            self._settled.add(place)
            if outcome.why:
                result.ended[place] = outcome.why


def end_leftovers(workspace: Workspace, credential: str, result: SweepResult) -> None:
    """Delete the accounts of ended or unknown grants.

    They remain if the target or the process was down at the end. Only accounts with this workspace's mark count.
    """
    maker = open_maker(workspace, credential)
    for account, mark in maker.own().items():
        place = f"{GRANTED}/{mark}"
        stored = read_grant(workspace, place)
        if stored is None or stored.grant.stage == GrantStage.ENDED:
            path, request = stored.grant.path if stored else "", mark.partition("/")[2]
            with record_action(workspace, END, path, place=credential, note=f"{request}: {account} was left over"):
                maker.end(account, mark)
            result.ended[place] = f"{account} was left over"


Outcome = Ending | KeyturnError | None
"""One grant's end, an error, or None if it continues."""

SETTLED: Final = Ending("")
"""It had ended before."""


@dataclass(frozen=True)
class GrantLook:
    """The data that all checks of one sweep share. Thread-safe."""

    workspace: Workspace
    sight: AccessSight
    receipts: frozenset[str]
    alerts: FindAlert = no_alerts

    def attempt(self, place: str) -> Outcome:
        """Check one grant and end it if required."""
        try:
            stored = read_grant(self.workspace, place)
            return self._look(stored) if stored else SETTLED
        except KeyturnError as error:
            return error

    def _look(self, stored: StoredGrant) -> Ending | None:
        grant = stored.grant
        match GrantStage(grant.stage):
            case GrantStage.ENDED:
                return SETTLED
            case GrantStage.ENDING:
                ending: Ending | None = Ending(grant.because, grant.alarm)
            case GrantStage.ISSUING:
                ending = self.why_given_up(grant, stored.age)
            case GrantStage.ACTIVE:
                ending = self.why_ended(grant)
        if ending:
            end_grant(self.workspace, grant, ending)
        return ending

    def why_given_up(self, grant: AccessGrant, age: float) -> Ending | None:
        """Why an unfinished delivery is abandoned, or None."""
        if age <= TAKE_OVER:
            return None
        request = self._request(grant)
        if isinstance(request, Ending):
            return request
        status = status_of(self.workspace, request)
        return None if status.state is RequestState.APPROVED else Ending(f"it was not given: {status.words}")

    def why_ended(self, grant: AccessGrant) -> Ending | None:
        """The first reason to end a grant, or None. Raises if a check fails."""
        if grant.is_over(self.workspace.hub_now()):
            return Ending(OVER)
        if ending := self._said(grant) or self._tokens(grant):
            return ending
        request = self._request(grant)
        return request if isinstance(request, Ending) else self._lapsed(grant, request)

    def _said(self, grant: AccessGrant) -> Ending | None:
        if self._receipt(grant, Receipt.STOLEN):
            return Ending("the requester reports that someone else opened it", alarm=True)
        return Ending("it was given back") if self._receipt(grant, Receipt.RETURNED) else None

    def _receipt(self, grant: AccessGrant, what: Receipt) -> bool:
        return receipt_place(grant.entity, grant.request, what) in self.receipts

    def _tokens(self, grant: AccessGrant) -> Ending | None:
        """End a grant that the hub revoked or another party opened."""
        hub = self.workspace.hub.grants()
        if not grant.account and hub.login_of(grant.accessor) is None:
            if grant.is_over(self.workspace.hub_now() + TICK):
                return Ending(OVER)
            return Ending("the hub has ended it: its token was revoked, or the hub was restored")
        if grant.opened_at or hub.is_wrapped(grant.wrapping):
            return None
        # Read again: the receipt precedes the opening, and may have been written after the listing.
        receipt = self.workspace.hub.read_state(receipt_place(grant.entity, grant.request, Receipt.OPENED))
        if receipt is None:
            return Ending("it was opened, but not by the requester", alarm=True)
        opened_at = str(receipt.data.get("at") or self.workspace.hub_now().isoformat())
        update_grant(self.workspace, grant.place, lambda current: replace(current, opened_at=opened_at))
        return None

    def _request(self, grant: AccessGrant) -> AccessRequest | Ending:
        """The grant's unchanged, open request, or the reason to end it."""
        try:
            request = load(self.workspace, f"{GRANTS}/{grant.entity}/{grant.request}")
        except NotFound:
            return Ending("the request is gone from the hub")
        except Invalid:
            return Ending("the request was changed")
        if request.digest != grant.digest:
            return Ending("the request was changed")
        if request.closed:
            return Ending("; ".join(filter(None, (f"{request.closed} by {request.closed_by}", request.because))))
        return request

    def _lapsed(self, grant: AccessGrant, request: AccessRequest) -> Ending | None:
        """Why policy, approvals or conditions no longer allow the grant, or None."""
        policy = self.workspace.catalogue.access_policies.get(grant.policy)
        if policy is None or policy.digest != request.policy_digest:
            return Ending(f"the policy {grant.policy} has changed since")
        approved, problems = valid_approvals(self.workspace, policy, request)
        if len(approved) < (0 if request.break_glass else max(policy.approvals, request.needed)):
            return Ending("; ".join(("it is approved no more", *problems)))
        facts = self.sight.facts_of(request)
        if facts is None:
            return Ending(GONE)
        decision = self.sight.policies.decide(facts, grant.policy, break_glass=request.break_glass, lenient=True)
        if decision.reasons:
            return Ending("; ".join(decision.reasons))
        if fresh := [name for name in self.sight.about(grant.path) or () if name not in grant.incidents]:
            return Ending(f"an incident is about the secret: {', '.join(fresh)}")
        alert = self.alerts(grant.principal, datetime.fromisoformat(grant.issued_at)) if grant.principal else ""
        return Ending(f"an alert is about its holder: {alert}") if alert else None
