"""Notify people about access requests: pending, approved, denied, or with an overdue review.

A command sends its own messages. A long-running process sends the others once, and records them. Duplicates carry the
same id. A broken channel blocks nothing.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.core.notifications.channel import Announcement
from keyturn.core.text.plain_text import inert
from keyturn.grants.access_request import GRANTS, AccessRequest
from keyturn.grants.requests import RequestState, is_over, load, status_of
from keyturn.grants.reviews import review_status
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import update_state

ACCESS_TOLD: Final = "serve/access-told"
"""The path of the sent messages in Keyturn's mount."""

REMEMBERED: Final = 1_000
"""Maximum remembered messages. The newest are kept."""


class NewsKind(StrEnum):
    """The kinds of messages about a request."""

    WAITS = "waits"
    APPROVED = "approved"
    DENIED = "denied"
    OVERDUE = "review overdue"


BY_STATE: Final = {
    RequestState.WAITS: NewsKind.WAITS,
    RequestState.APPROVED: NewsKind.APPROVED,
    RequestState.DENIED: NewsKind.DENIED,
}


@dataclass(frozen=True)
class AccessNews:
    """One message about a request."""

    request: AccessRequest
    kind: NewsKind

    @property
    def key(self) -> str:
        """The message's key in the record of sent messages."""
        return f"{self.request.id} {self.kind}"


def news_of(workspace: Workspace, request: AccessRequest) -> AccessNews | None:
    """The message for a request's present state, if any."""
    review = review_status(workspace, request)
    if review and not review.reviewed_by:
        # The broken glass was reported before anything else.
        return AccessNews(request, NewsKind.OVERDUE) if review.overdue else None
    kind = BY_STATE.get(status_of(workspace, request).state)
    # Access that a policy allows without approval requires no message.
    quiet = review or (kind is NewsKind.APPROVED and not request.approvals)
    return AccessNews(request, kind) if kind and not quiet else None


def send_news(workspace: Workspace, news: AccessNews) -> None:
    """Send a message. Raises the channel's errors."""
    if workspace.channel is not None:
        workspace.channel.send(access_announcement(workspace, news))


def tell_at_once(workspace: Workspace, request: AccessRequest) -> None:
    """Send the message for a changed request. A broken channel blocks nothing."""
    with suppress(KeyturnError):
        news = news_of(workspace, request)
        # Its pending state was reported when it was made.
        if news and not (news.kind is NewsKind.WAITS and request.approvals):
            send_news(workspace, news)


def access_announcement(workspace: Workspace, news: AccessNews) -> Announcement:
    """The message, whose id doesn't depend on the sender."""
    request, kind = news.request, news.kind
    page = page_of(workspace, request)
    lines = [inert(request.words), f"Asked by: {inert(request.asked_by)}", *news_details(workspace, news)]
    subject = f"Keyturn: {request.id}{': ' if kind is NewsKind.OVERDUE else ' '}{WORDS[kind]}"
    return Announcement(f"msg_{request.nonce}-{kind.name.lower()}", subject, "\n".join([*lines, *page]))


WORDS: Final = {
    NewsKind.WAITS: "waits for approval",
    NewsKind.APPROVED: "is approved",
    NewsKind.DENIED: "is denied",
    NewsKind.OVERDUE: "its review is overdue",
}


def page_of(workspace: Workspace, request: AccessRequest) -> list[str]:
    """The line with the request's web page, if any."""
    page = workspace.access_page.replace("{request}", request.id)
    return [f"See: {page}"] if page else []


def news_details(workspace: Workspace, news: AccessNews) -> list[str]:
    """The details and possible actions in a message."""
    request = news.request
    match news.kind:
        case NewsKind.WAITS:
            policy = workspace.catalogue.access_policies.get(request.policy)
            named = [name for name in (policy.approvers if policy else ()) if is_another(workspace, name, request)]
            until = f"{datetime.fromisoformat(request.expires_at):%Y-%m-%d %H:%M} UTC"
            return [
                f"Approvals: {request.needed} of {', '.join(named)}, until {until}",
                f"To approve: `keyturn access approve {request.id}`",
                f"To deny: `keyturn access deny {request.id} --because TEXT`",
            ]
        case NewsKind.APPROVED:
            return [f"For the requester: `keyturn access show {request.id}`"]
        case NewsKind.DENIED:
            return [f"Denied by: {inert(request.closed_by)}", f"Because: {inert(request.because)}"]
        case NewsKind.OVERDUE:
            return [f"To review it: `keyturn access review {request.id} --finding TEXT`"]


def is_another(workspace: Workspace, approver: str, request: AccessRequest) -> bool:
    """Whether the operator's file names this approver, other than the requester."""
    who = workspace.approvals.approvers.get(approver)
    return who is not None and who.entity != request.entity


# --- long-running processes


class Herald:
    """Sends unsent messages about all requests. Used by one thread."""

    def __init__(self) -> None:
        self._settled: set[str] = set()

    def tell(self, workspace: Workspace) -> list[AccessNews]:
        """Send the unsent messages, record them in the hub and return them.

        Raises if listing fails, and the channel's first error. That message is sent next time.
        """
        if workspace.channel is None:
            return []
        places = [place for place in workspace.hub.list_state(GRANTS) if place not in self._settled]
        everything = [news for place in places if (news := self._look(workspace, place))]
        return tell_news(workspace, everything) if everything else []

    def _look(self, workspace: Workspace, place: str) -> AccessNews | None:
        try:
            request = load(workspace, place)
        except (Invalid, NotFound):
            # The list of requests reports it.
            return None
        news = news_of(workspace, request)
        if (
            news is None
            and (request.closed or is_over(request, workspace.hub_now()))
            and not is_unreviewed(workspace, request)
        ):
            self._settled.add(place)
        return news


def is_unreviewed(workspace: Workspace, request: AccessRequest) -> bool:
    """Whether a review is still missing."""
    review = review_status(workspace, request)
    return review is not None and not review.reviewed_by


def tell_news(workspace: Workspace, everything: Iterable[AccessNews]) -> list[AccessNews]:
    """Send and record the unsent messages, and return them. Raises the channel's errors."""
    before = frozenset(load_told(workspace)[0])
    sent: list[AccessNews] = []
    try:
        for news in everything:
            if news.key not in before:
                send_news(workspace, news)
                sent.append(news)
    finally:
        if sent:
            remember(workspace, [news.key for news in sent])
    return sent


def remember(workspace: Workspace, keys: list[str]) -> None:
    """Record sent messages in the hub."""

    def change(current: list[str]) -> list[str]:
        return [*current, *(key for key in keys if key not in current)][-REMEMBERED:]

    def to_data(current: list[str]) -> dict[str, str]:
        return {"told": json.dumps(current)}

    update_state(workspace, ACCESS_TOLD, lambda: load_told(workspace), change, to_data)


def load_told(workspace: Workspace) -> tuple[list[str], int]:
    """The sent messages and the entry's version. Raises Invalid."""
    state = workspace.hub.read_state(ACCESS_TOLD)
    if state is None:
        return [], 0
    try:
        return [str(key) for key in json.loads(state.data["told"])], state.version
    except (ValueError, TypeError, KeyError):
        place = f"{workspace.hub.state_mount}/{ACCESS_TOLD}"
        hint = f"Remove it; messages that were sent come once more: `vault kv metadata delete {place}`"
        raise Invalid("read", place, "the entry of Keyturn's state is malformed", hint) from None
