"""One round of the granter: deliver approved access, end invalid access, and notify people.

A round finishes what another has left. Concurrent rounds are safe.
"""

from dataclasses import dataclass, field

from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.delivery import give_if_approved
from keyturn.grants.gather_facts import AccessSight
from keyturn.grants.grants import access_status
from keyturn.grants.notifications import AccessNews, Herald
from keyturn.grants.requests import RequestState, find_request, list_requests, state_words
from keyturn.grants.sweep import Sweeper, SweepResult
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import AccessGrant


@dataclass
class AccessRound:
    """The result of one round. ``held`` explains what is not delivered."""

    waiting: list[AccessRequest] = field(default_factory=list)
    given: list[AccessGrant] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    swept: SweepResult = field(default_factory=SweepResult)
    told: list[AccessNews] = field(default_factory=list)
    troubles: list[KeyturnError] = field(default_factory=list)


def make_round(workspace: Workspace, sweeper: Sweeper | None = None, only: str = "") -> AccessRound:
    """Deliver, end and notify. One failure stops no other. Raises if listing fails.

    ``only`` is the one request to deliver. Raises NotFound if unknown.
    """
    done = AccessRound()
    if only:
        requests = [find_request(workspace, only)]
    else:
        requests, malformed = list_requests(workspace)
        done.troubles += malformed
    give_approved(workspace, requests, done)
    if only and not done.given:
        done.held.setdefault(only, describe_state(workspace, requests[0]))
    done.swept = (sweeper or Sweeper()).sweep(workspace)
    done.troubles += done.swept.troubles.values()
    try:
        done.told = Herald().tell(workspace)
    except KeyturnError as error:
        done.troubles.append(error)
    return done


def give_approved(workspace: Workspace, requests: list[AccessRequest], done: AccessRound) -> None:
    """Deliver the approved requests and collect the pending ones."""
    sight = AccessSight(workspace)
    for request in requests:
        try:
            outcome = give_if_approved(workspace, request, sight)
            if outcome is RequestState.WAITS:
                done.waiting.append(request)
            elif isinstance(outcome, AccessGrant):
                done.given.append(outcome)
        except (Denied, Invalid, Locked) as error:
            done.held[request.id] = error.problem
        except KeyturnError as error:
            done.troubles.append(error)


def describe_state(workspace: Workspace, request: AccessRequest) -> str:
    """Why a request was not delivered, in words."""
    status = access_status(workspace, request)
    return state_words(status.state, status.problems)
