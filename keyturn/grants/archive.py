"""Move requests that ended long ago to an archive.

It keeps the signed request and its grant. The delivery and receipts are deleted.
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
"""Requests per look, sampled at random if there are more."""

EVERY: Final = timedelta(minutes=10)
"""The interval between two looks of a long-running process."""


class Archivist:
    """Archives old requests at intervals. Used by one thread."""

    def __init__(self) -> None:
        self._next: datetime | None = None

    def look(self, workspace: Workspace) -> list[KeyturnError]:
        """Archive old requests if due. Returns errors. Raises if listing fails."""
        now = workspace.hub_now()
        if self._next and now < self._next:
            return []
        self._next = now + EVERY
        places = list(workspace.hub.list_state(GRANTS))
        errors = (attempt(workspace, place, now) for place in chosen(places))
        return [error for error in errors if error]


def chosen(places: Sequence[str]) -> Sequence[str]:
    """The requests to check now."""
    return places if len(places) <= MOST else random.sample(places, MOST)


def attempt(workspace: Workspace, place: str, now: datetime) -> KeyturnError | None:
    """Archive one request if old. Returns errors, except of malformed entries."""
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
    """Whether a request is over, reviewed, and past its policy's retention."""
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
    """Whether the archive holds exactly this request."""
    try:
        return load(workspace, request.archive_place).digest == request.digest
    except NotFound:
        return False


def put_away(workspace: Workspace, request: AccessRequest, grant: AccessGrant | None) -> None:
    """Archive it, then delete it, with the request last so that another run can continue."""
    entries = grant_data(grant) if grant else {}
    try:
        workspace.hub.claim_state(request.archive_place, {"request": json.dumps(asdict(request)), **entries})
    except (Conflict, Denied):
        # An earlier run that crashed has archived it. A login that may only create entries gets Denied on a second
        # write.
        if not is_archived(workspace, request):
            raise
    for what in Receipt:
        workspace.hub.delete_state(receipt_place(request.entity, request.id, what))
    for place in (f"deliveries/{request.entity}/{request.id}", request.grant_place, request.place):
        workspace.hub.delete_state(place)
