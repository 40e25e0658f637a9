"""Letting people know of access for a while: what waits for approvers, what was approved or denied, what is overdue.

A command tells of what it does, where it knows a channel; whatever runs on tells the rest, once: what was told is kept
in the hub. A message may come twice, under one id, where both have told it. A channel that is down holds nothing up.
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
"""Where it is kept what was told, in Keyturn's own mount."""

REMEMBERED: Final = 1_000
"""Messages that are remembered, the newest: a request holds for hours."""


class NewsKind(StrEnum):
    """What people are told of a request."""

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
        """What names it among those that were told."""
        return f"{self.request.id} {self.kind}"


def news_of(workspace: Workspace, request: AccessRequest) -> AccessNews | None:
    """What there is to be told of a request as it stands now; None where there is nothing."""
    review = review_status(workspace, request)
    if review and not review.reviewed_by:
        # That the glass is broken was told before anything else.
        return AccessNews(request, NewsKind.OVERDUE) if review.overdue else None
    kind = BY_STATE.get(status_of(workspace, request).state)
    # What is given without anybody's approval, by a policy that says so, is no news.
    quiet = review or (kind is NewsKind.APPROVED and not request.approvals)
    return AccessNews(request, kind) if kind and not quiet else None


def send_news(workspace: Workspace, news: AccessNews) -> None:
    """Let people know, in names alone. Raises what keeps the channel from taking it."""
    if workspace.channel is not None:
        workspace.channel.send(access_announcement(workspace, news))


def tell_at_once(workspace: Workspace, request: AccessRequest) -> None:
    """Let people know how a request stands that was changed just now. A channel that is down holds nothing up."""
    with suppress(KeyturnError):
        news = news_of(workspace, request)
        # That it waits was told when it was asked for.
        if news and not (news.kind is NewsKind.WAITS and request.approvals):
            send_news(workspace, news)


def access_announcement(workspace: Workspace, news: AccessNews) -> Announcement:
    """The message: its id is the same whoever sends it."""
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
    """The line with the page that shows it; none where the site has none."""
    page = workspace.access_page.replace("{request}", request.id)
    return [f"See: {page}"] if page else []


def news_details(workspace: Workspace, news: AccessNews) -> list[str]:
    """What people are told besides, and can do."""
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
            return [f"For whoever has asked: `keyturn access show {request.id}`"]
        case NewsKind.DENIED:
            return [f"Denied by: {inert(request.closed_by)}", f"Because: {inert(request.because)}"]
        case NewsKind.OVERDUE:
            return [f"To review it: `keyturn access review {request.id} --finding TEXT`"]


def is_another(workspace: Workspace, approver: str, request: AccessRequest) -> bool:
    """Whether that is somebody whom the operator's file names, and who has not asked for it."""
    who = workspace.approvals.approvers.get(approver)
    return who is not None and who.entity != request.entity


# --- whoever runs on


class Herald:
    """Tells what was not told yet of all requests, again and again. One thread uses it."""

    def __init__(self) -> None:
        self._settled: set[str] = set()

    def tell(self, workspace: Workspace) -> list[AccessNews]:
        """Look at each of which there may be news; what was told, which the hub remembers.

        Raises what hides all of them, and what keeps the channel from taking the first that it did not take: that is
        told the next time.
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
            # Whoever lists the requests is told of it.
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
    """Whether somebody has to review it still."""
    review = review_status(workspace, request)
    return review is not None and not review.reviewed_by


def tell_news(workspace: Workspace, everything: Iterable[AccessNews]) -> list[AccessNews]:
    """Tell what was not told yet, and remember it in the hub; what was told. Raises what keeps the channel from it."""
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
    """Keep in the hub that these were told."""

    def change(current: list[str]) -> list[str]:
        return [*current, *(key for key in keys if key not in current)][-REMEMBERED:]

    def to_data(current: list[str]) -> dict[str, str]:
        return {"told": json.dumps(current)}

    update_state(workspace, ACCESS_TOLD, lambda: load_told(workspace), change, to_data)


def load_told(workspace: Workspace) -> tuple[list[str], int]:
    """What was told, and the entry's version, 0 where there is none. Raises Invalid where it can't be read."""
    state = workspace.hub.read_state(ACCESS_TOLD)
    if state is None:
        return [], 0
    try:
        return [str(key) for key in json.loads(state.data["told"])], state.version
    except (ValueError, TypeError, KeyError):
        place = f"{workspace.hub.state_mount}/{ACCESS_TOLD}"
        hint = f"Remove it; what is told already comes once more: `vault kv metadata delete {place}`"
        raise Invalid("read", place, "the entry of Keyturn's state is malformed", hint) from None
