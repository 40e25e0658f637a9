"""Deliver access as soon as it is approved."""

from collections.abc import Callable
from typing import Final

from keyturn.core.errors import Denied, KeyturnError, Locked
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.grants.access_request import GRANTS
from keyturn.grants.delivery import give_if_approved
from keyturn.grants.gather_facts import AccessSight, FindAlert
from keyturn.grants.grants import GIVE
from keyturn.grants.requests import RequestState, is_over, load
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.grant_store import AccessGrant
from keyturn.rotation.state.journal import entry, note_down

LIST: Final = 0.5
"""Minimum seconds between two listings of all requests."""
SHARE: Final = 4.0
"""Listing may take at most 1/SHARE of the time."""
REFUSED: Final = 5.0
"""Seconds before a refused request is checked again."""
AT_ONCE: Final = 8

Say = Callable[[str], None]


class Granter:
    """Checks pending requests and delivers approved ones. Used by one thread."""

    def __init__(self, say: Say, clock: Callable[[], float], alerts: FindAlert | None = None) -> None:
        self._say = say
        self._alerts = alerts
        self._clock = clock
        self._waiting: dict[str, float] = {}
        """The time of the next check, by path."""
        self._settled: set[str] = set()
        self._list_at = 0.0
        self._told: dict[str, str] = {}

    def look(self, workspace: Workspace) -> list[AccessGrant]:
        """Check once and return the deliveries. One failure stops no other. Raises if listing fails."""
        self._list(workspace)
        now, sight = self._clock(), AccessSight(workspace, self._alerts)
        due = [place for place, at in self._waiting.items() if at <= now]
        outcomes = side_by_side(lambda place: attempt(workspace, place, sight), due, AT_ONCE)
        for place, outcome in zip(due, outcomes, strict=True):
            self._note(workspace, place, outcome)
        return [outcome for outcome in outcomes if isinstance(outcome, AccessGrant)]

    def _list(self, workspace: Workspace) -> None:
        began = self._clock()
        if began < self._list_at:
            return
        for place in workspace.hub.list_state(GRANTS):
            if place not in self._settled:
                self._waiting.setdefault(place, began)
        ended = self._clock()
        self._list_at = ended + max(LIST, SHARE * (ended - began))

    def _note(self, workspace: Workspace, place: str, outcome: "AccessGrant | bool | KeyturnError") -> None:
        if isinstance(outcome, KeyturnError):
            self._refuse(workspace, place, outcome)
        elif outcome:
            self._settled.add(place)
            del self._waiting[place]
            self._told.pop(place, None)

    def _refuse(self, workspace: Workspace, place: str, error: KeyturnError) -> None:
        """Report once why it is not delivered, and try later."""
        self._waiting[place] = self._clock() + REFUSED
        if isinstance(error, Locked) or self._told.get(place) == error.problem:
            return
        self._told[place] = error.problem
        self._say(f"not given: {error}")
        if isinstance(error, Denied):
            note_down(workspace, [refusal(workspace, place, error)])


def refusal(workspace: Workspace, place: str, error: Denied) -> Entry:
    """The ledger's entry on a refusal."""
    return entry(workspace, GIVE, Outcome.DENIED, place=place, note=f"{error.name}: {error.problem}")


def attempt(workspace: Workspace, place: str, sight: AccessSight) -> AccessGrant | bool | KeyturnError:
    """The grant if delivered now, any error, or whether the request is finished."""
    try:
        request = load(workspace, place)
        if request.closed or is_over(request, workspace.hub_now()):
            return True
        outcome = give_if_approved(workspace, request, sight)
    except KeyturnError as error:
        return error
    return outcome if isinstance(outcome, AccessGrant) else outcome is RequestState.APPROVED
