"""Review of access without approvals: another person checks it within a day and signs the finding.

Each look verifies the signature, so a writer of the entry can't fake a review.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.ledger import Signer
from keyturn.grants.access_request import ARCHIVE, GRANTS, AccessRequest
from keyturn.grants.grants import access_status
from keyturn.grants.requests import find_request, list_requests, update_request
from keyturn.rotation.signers import (
    Review,
    insist_on_finding,
    review_content,
    sign_text,
    signature_flaw,
    signer_at_work,
)
from keyturn.rotation.state.break_glass import BrokenGlass
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import GrantStage
from keyturn.rotation.state.journal import record_action

REVIEW: Final = "review access"
"""The name of a review in the ledger."""

REVIEW_WITHIN: Final = timedelta(days=1)
"""The time limit for a review, from the request."""


@dataclass(frozen=True)
class ReviewStatus:
    """The status of a review: due time and reviewer."""

    due_at: datetime
    overdue: bool
    reviewed_by: str = ""

    @property
    def words(self) -> str:
        """The status for people."""
        if self.reviewed_by:
            return f"reviewed by {self.reviewed_by}"
        return f"{'OVERDUE since' if self.overdue else 'due until'} {self.due_at:%Y-%m-%d %H:%M} UTC"


def review_status(workspace: Workspace, request: AccessRequest) -> ReviewStatus | None:
    """The review status of a request, if it needs one."""
    if not request.break_glass:
        return None
    due_at = datetime.fromisoformat(request.asked_at) + REVIEW_WITHIN
    if request.review and not review_flaw(workspace, request, request.review):
        return ReviewStatus(due_at, overdue=False, reviewed_by=request.review.reviewer)
    return ReviewStatus(due_at, overdue=workspace.hub_now() >= due_at)


def review_message(request: AccessRequest, reviewer: str, at: str, finding: str) -> bytes:
    """The message that a reviewer signs."""
    return f"keyturn access review v1\n{request.digest}\n{review_content(reviewer, at, finding)}\n".encode()


def review_flaw(workspace: Workspace, request: AccessRequest, review: Review) -> str:
    """Why a review is not valid, or empty."""
    message = review_message(request, review.reviewer, review.at, review.finding)
    return signature_flaw(workspace, review.reviewer, request.entity, message, review.signature)


def review_note(request: AccessRequest, review: Review) -> str:
    """The ledger's note on a review."""
    signed = f"digest {request.digest}, signature {review.signature}"
    return f"{request.id}: by {review.reviewer}, {signed}; {review.finding}"


def review_access(workspace: Workspace, name: str, finding: str, key: Signer | None = None) -> AccessRequest:
    """Sign a finding on access without approvals, as an approver other than the requester.

    ``key`` is their own, or None for their key in the hub. Raises Denied for anyone else, Invalid if there is nothing
    to review or the access is still active.
    """
    request, finding = find_request(workspace, name), finding.strip()
    with record_action(workspace, REVIEW, request.path, note=f"{name}: {request.words}") as doing:
        reviewer, who, signer = signer_at_work(workspace, key)
        if who.entity == request.entity:
            raise Denied("review", request.id, "you have asked for it yourself", "Another approver has to review it")
        insist_on_reviewable(workspace, request, finding)
        at = workspace.hub_now().isoformat()
        review = Review(reviewer, at, finding, sign_text(signer, review_message(request, reviewer, at, finding)))
        after = update_request(workspace, request.place, lambda current: reviewed(workspace, request, current, review))
        doing.note = review_note(request, review)
    return after


def reviewed(workspace: Workspace, request: AccessRequest, current: AccessRequest, review: Review) -> AccessRequest:
    """The request with the review. Raises Invalid if changed or reviewed meanwhile."""
    status = review_status(workspace, current)
    if current.digest != request.digest or status is None or status.reviewed_by:
        raise Invalid("review", request.id, "it was changed or reviewed meanwhile", "Look at it again")
    return replace(current, review=review)


def insist_on_reviewable(workspace: Workspace, request: AccessRequest, finding: str) -> None:
    """Raise Invalid unless the review is missing, the access over, and the finding valid."""
    status, now = review_status(workspace, request), workspace.hub_now()
    if status is None:
        raise Invalid("review", request.id, "it was approved in advance", "See `keyturn access show`")
    if status.reviewed_by:
        raise Invalid("review", request.id, f"{status.reviewed_by} has reviewed it", "See `keyturn access show`")
    given_back = access_status(workspace, request).state == GrantStage.ENDED
    if not request.closed and not given_back and now < last_moment(request):
        ends = (
            f"End it first: `keyturn access end {request.id}`; or wait until {last_moment(request):%Y-%m-%d %H:%M} UTC"
        )
        raise Invalid("review", request.id, "the access is still active", ends)
    insist_on_finding(request.id, finding, "--finding")


def last_moment(request: AccessRequest) -> datetime:
    """The latest end: access may be delivered until the request expires."""
    return datetime.fromisoformat(request.expires_at) + timedelta(seconds=request.seconds)


def list_broken_access(workspace: Workspace) -> list[BrokenGlass]:
    """All access without approvals, oldest first, also from the archive."""
    requests = [request for folder in (GRANTS, ARCHIVE) for request in list_requests(workspace, folder)[0]]
    broken = ((request, review_status(workspace, request)) for request in requests)
    glass = [as_broken(request, status) for request, status in broken if status]
    return sorted(glass, key=lambda each: each.at)


def as_broken(request: AccessRequest, status: ReviewStatus) -> BrokenGlass:
    """The request as a :class:`BrokenGlass`."""
    review = request.review if status.reviewed_by else None
    return BrokenGlass(
        request.id,
        request.asked_at,
        "access to",
        request.words,
        request.ticket or request.purpose,
        request.asked_by,
        request.entity,
        remark="",
        known=True,
        signed_by=(review.reviewer,) if review else (),
        reviewed_by=review.reviewer if review else "",
        reviewed_at=review.at if review else "",
        verdict=review.finding if review else "",
        review_by=status.due_at.isoformat(),
    )
