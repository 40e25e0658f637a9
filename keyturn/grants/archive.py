"""Requests that are long over: they leave the listing, which is read again and again, for an archive beside it.

What proves them stays: the request as it was signed and what was given for it lie in the archive, and the ledger has
the rest for good. What opened the credential is removed, and so is what was said of it.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final

from keyturn.catalogue.access_policies import KEEP
from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound
from keyturn.grants.access_request import GRANTS, AccessRequest
from keyturn.grants.requests import load
from keyturn.grants.reviews import last_moment, review_status
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import AccessGrant, GrantStage, Receipt, grant_data, read_grant, receipt_place

MOST: Final = 50
"""Requests that one look looks at: of many, some by chance, so that all are looked at sooner or later."""

EVERY: Final = timedelta(minutes=10)
"""How often whoever runs on looks."""


class Archivist:
    """Looks now and then at some of all requests, and puts those away that are long over. One thread uses it."""

    def __init__(self) -> None:
        self._next: datetime | None = None

    def look(self, workspace: Workspace) -> list[KeyturnError]:
        """Put away what is long over, where a look is due; what could not be. Raises what hides all of them."""
        now = workspace.hub_now()
        if self._next and now < self._next:
            return []
        self._next = now + EVERY
        places = list(workspace.hub.list_state(GRANTS))
        errors = (attempt(workspace, place, now) for place in chosen(places))
        return [error for error in errors if error]


def chosen(places: Sequence[str]) -> Sequence[str]:
    """Those that are looked at now."""
    return places if len(places) <= MOST else random.sample(places, MOST)


def attempt(workspace: Workspace, place: str, now: datetime) -> KeyturnError | None:
    """Put one away where it is long over; what keeps it from that. An entry that is no request is left to people."""
    try:
        request = load(workspace, place)
        stored = read_grant(workspace, request.grant_place)
        if is_long_over(workspace, request, stored.grant if stored else None, now):
            put_away(workspace, request, stored.grant if stored else None)
    except (Invalid, NotFound):
        return None
    except KeyturnError as error:
        return error
    return None


def is_long_over(workspace: Workspace, request: AccessRequest, grant: AccessGrant | None, now: datetime) -> bool:
    """Whether nothing comes of it any more, nobody has to look at it, and its policy's time to keep it has passed."""
    policy = workspace.catalogue.access_policies.get(request.policy)
    review = review_status(workspace, request)
    if (review and not review.reviewed_by) or (grant and grant.stage != GrantStage.ENDED):
        return False
    moments = [last_moment(request), *(datetime.fromisoformat(each) for each in ends_of(request, grant))]
    return now - max(moments) >= (policy.keep if policy else KEEP)


def ends_of(request: AccessRequest, grant: AccessGrant | None) -> list[str]:
    """When it was closed, reviewed, and ended."""
    review = request.review.at if request.review else ""
    return [moment for moment in (request.closed_at, review, grant.ended_at if grant else "") if moment]


def is_archived(workspace: Workspace, request: AccessRequest) -> bool:
    """Whether the archive has this very request."""
    try:
        return load(workspace, request.archive_place).digest == request.digest
    except NotFound:
        return False


def put_away(workspace: Workspace, request: AccessRequest, grant: AccessGrant | None) -> None:
    """Write it to the archive, then remove it; the request last, so that whoever comes next goes on."""
    entries = grant_data(grant) if grant else {}
    try:
        workspace.hub.claim_state(request.archive_place, {"request": json.dumps(asdict(request)), **entries})
    except (Conflict, Denied):
        # A run that ended here has put it there: who may make an entry alone is denied to change one.
        if not is_archived(workspace, request):
            raise
    for what in Receipt:
        workspace.hub.delete_state(receipt_place(request.entity, request.id, what))
    for place in (f"deliveries/{request.entity}/{request.id}", request.grant_place, request.place):
        workspace.hub.delete_state(place)
