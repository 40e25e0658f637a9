"""Notifications of pending access requests, each sent once."""

from dataclasses import replace
from datetime import datetime

import pytest

from keyturn.catalogue.operator.approvals import ApproverSettings
from keyturn.core.errors import Invalid, Unavailable
from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.notifications import (
    AccessNews,
    Herald,
    NewsKind,
    access_announcement,
    news_of,
    tell_at_once,
    tell_news,
)
from keyturn.grants.reviews import REVIEW_WITHIN
from keyturn.providers.access_page import access_page
from keyturn.rotation.state.context import Workspace
from tests.support.access import HOUR, AccessSite, Chat, approver_of, people_of, site_of
from tests.support.lab import Lab
from tests.support.people import Person


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    return people_of(lab)


@pytest.fixture(scope="module")
def approvers(lab: Lab, people: dict[str, Person]) -> dict[str, ApproverSettings]:
    return {name: approver_of(lab, people[name]) for name in ("ana", "bea", "cleo")}


@pytest.fixture
def site(lab: Lab, people: dict[str, Person], approvers: dict[str, ApproverSettings]) -> AccessSite:
    return site_of(lab, people, approvers, break_glass=True)


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
def watcher(site: AccessSite, chat: Chat) -> Workspace:
    """Whoever runs on, and knows a channel."""
    return replace(site.as_person("dora"), channel=chat, access_page="https://pages.example/{request}")


def told_of(workspace: Workspace, *wanted: AccessRequest) -> list[AccessNews]:
    """What is told of these alone: all tests have one hub."""
    return tell_news(workspace, [news for request in wanted if (news := news_of(workspace, request))])


def test_of_all_requests_each_thing_is_told_by_one_who_runs_on(
    site: AccessSite, watcher: Workspace, chat: Chat
) -> None:
    request, herald = site.ask(), Herald()
    waits = f"Keyturn: {request.id} waits for approval"
    for _ in range(2):
        herald.tell(watcher)
    requests.deny_access(site.as_person("bea"), request.id, "not now")
    for another in (herald, Herald()):
        another.tell(watcher)
    subjects = [message.subject for message in chat.heard if request.id in message.subject]
    assert subjects == [waits, f"Keyturn: {request.id} is denied"]


def test_what_waits_is_told_once_with_the_command_the_page_and_who_may(
    site: AccessSite, watcher: Workspace, chat: Chat
) -> None:
    request = site.ask()
    for _ in range(2):
        told_of(watcher, request)
    (message,) = chat.heard
    assert message.subject == f"Keyturn: {request.id} waits for approval"
    for words in (
        f"`keyturn access approve {request.id}`",
        f"See: https://pages.example/{request.id}",
        "Approvals: 2 of bea, cleo, until ",
        "a query hangs",
    ):
        assert words in message.body


def test_that_it_is_approved_or_denied_is_told_and_half_of_it_is_not(
    site: AccessSite, watcher: Workspace, chat: Chat
) -> None:
    request, denied = site.ask(), site.ask()
    tell_at_once(watcher, site.approve("bea", request))
    assert chat.heard == []
    tell_at_once(watcher, site.approve("cleo", request))
    tell_at_once(watcher, requests.deny_access(site.as_person("bea"), denied.id, "not `now`\nOK"))
    assert [message.subject.partition(" ")[2] for message in chat.heard] == [
        f"{request.id} is approved",
        f"{denied.id} is denied",
    ]
    assert "Because: not \\x60now\\x60\\nOK" in chat.heard[1].body


def test_a_review_that_is_overdue_is_told(site: AccessSite, watcher: Workspace, chat: Chat) -> None:
    broken = site.break_glass()
    told_of(watcher, broken)
    assert chat.heard == []
    late = replace(watcher, hub_clock=lambda: datetime.fromisoformat(broken.asked_at) + REVIEW_WITHIN)
    told_of(late, broken)
    (message,) = chat.heard
    assert message.subject == f"Keyturn: {broken.id}: its review is overdue"


def test_what_did_not_arrive_is_told_again_under_the_same_id_and_the_rest_is_not_lost(
    site: AccessSite, watcher: Workspace, chat: Chat
) -> None:
    waiting = [site.ask(), site.ask()]
    chat.down = True
    with pytest.raises(Unavailable):
        told_of(watcher, *waiting)
    chat.down = False
    assert [news.request.id for news in told_of(watcher, *waiting)] == [request.id for request in waiting]
    first, again, other = chat.heard
    assert (first.id, first.id == other.id) == (again.id, False)


@pytest.mark.attack
def test_markup_and_links_in_a_request_are_plain_text(site: AccessSite, watcher: Workspace) -> None:
    workspace = site.as_person("ana")
    for purpose in ("a query hangs\nApproved by: bea", " ", "x" * 301):
        with pytest.raises(Invalid):
            requests.ask_for_access(workspace, site.secret.path, HOUR, purpose)
    forged = replace(site.ask(), purpose="ok\nTo approve: <https://evil.example|here> @all")
    body = access_announcement(watcher, AccessNews(forged, NewsKind.WAITS)).body
    assert body.count("\nTo approve: ") == 1
    for markup in ("<https", "//evil", "@all"):
        assert markup not in body


@pytest.mark.parametrize(
    ("environ", "page"),
    [
        ({}, ""),
        ({"KEYTURN_ACCESS_PAGE": "https://wiki.example/{request}"}, "https://wiki.example/{request}"),
        ({"PREFECT_API_URL": "https://p.example/api"}, "https://p.example/artifacts/key/grant-access"),
        (
            {"PREFECT_API_URL": "http://10.0.0.1/api", "PREFECT_UI_URL": "https://ui.example/"},
            "https://ui.example/artifacts/key/grant-access",
        ),
    ],
)
def test_the_page_is_the_sites_own_or_prefects(environ: dict[str, str], page: str) -> None:
    assert access_page(environ) == page


def test_a_page_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="KEYTURN_ACCESS_PAGE"):
        access_page({"KEYTURN_ACCESS_PAGE": "javascript:alert(1)"})
