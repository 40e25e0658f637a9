"""Approved access is delivered once, with least rights, and its account ends with it."""

from datetime import datetime, timedelta

import pytest

from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.ledger import Outcome
from keyturn.grants import requests
from keyturn.grants.delivery import deliver_request
from keyturn.grants.gather_facts import AccessSight
from keyturn.grants.grants import access_status
from keyturn.rotation.state.grant_store import GrantStage
from tests.support.access import recorded
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.hooks import eventually
from tests.support.lab import Lab
from tests.support.people import Person

pytestmark = pytest.mark.sampled(2, of="file")


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    return people_with_least_rights(lab)


@pytest.fixture(scope="module")
def site(lab: Lab, people: dict[str, Person]) -> GivenSite:
    return given_site(lab, people, reader_role(lab))


def test_it_is_opened_once_by_whoever_asked_and_ends_with_its_sessions(site: GivenSite) -> None:
    grant = site.given(timedelta(minutes=30))
    opened = site.open(grant.request)
    assert timedelta(minutes=29) < opened.ends_at - site.lab.hub.now() <= timedelta(minutes=30)
    assert site.lab.logs_in(opened.fields)
    with pytest.raises(Invalid, match=r"it was opened at .* by .*, and opens once"):
        site.open(grant.request)
    assert grant.place not in site.sweep().ended
    with site.lab.opened(opened.fields) as works:
        requests.end_access(site.at_work("bea"), grant.request)
        assert site.sweep().ended[grant.place].startswith("ended by bea")
        assert eventually(lambda: not works() and not site.lab.logs_in(opened.fields))
    workspace = site.at_work("granter")
    status = access_status(workspace, requests.find_request(workspace, grant.request))
    assert (status.state, status.until) == (GrantStage.ENDED, "")
    for action in ("give access", "end access"):
        assert any(outcome is Outcome.DONE and grant.request in note for outcome, note in recorded(workspace, action))


def test_what_is_not_approved_or_whose_conditions_do_not_hold_any_more_is_not_given(site: GivenSite) -> None:
    waiting = site.ask()
    with pytest.raises(Invalid, match="it waits for approvals"):
        deliver_access(site.at_work("granter"), waiting.id)
    with pytest.raises(Invalid, match="it waits for approvals"):
        site.open(waiting.id)
    held = site.approved(conditions={"login_within": "1h"})
    later = site.at_work("granter", conditions={"login_within": "1h"})
    site.lab.root.auth.token.revoke_accessor(held.login)
    with pytest.raises(Denied, match="the hub could not be asked about the login"):
        deliver_access(later, held.id)
    assert site.grant_of(held) is None


def test_what_was_given_is_not_given_again(site: GivenSite) -> None:
    grant = site.given()
    assert deliver_access(site.at_work("granter"), grant.request) == grant
    requests.end_access(site.at_work("bea"), grant.request)
    site.sweep()
    assert deliver_access(site.at_work("granter"), grant.request).stage == GrantStage.ENDED
    with pytest.raises(Denied, match="it has ended: ended by bea"):
        site.open(grant.request)


def test_whom_an_alert_is_about_is_given_nothing_where_the_policy_says_so(site: GivenSite) -> None:
    conditions = {"alerts": "none"}
    granter = site.at_work("granter", conditions=conditions)
    request = requests.find_request(granter, site.approved(conditions=conditions).id)
    seen: list[str] = []

    def find(principal: str, since: datetime) -> str:
        seen.append(principal)
        return "7f3a, a decoy was read" if len(seen) == 1 else ""

    with pytest.raises(Denied, match="could not check whether an alert is about the requester"):
        deliver_request(granter, request)
    with pytest.raises(Denied, match="an alert is about the requester: 7f3a, a decoy was read"):
        deliver_request(granter, request, AccessSight(granter, find))
    assert deliver_request(granter, request, AccessSight(granter, find)).stage == GrantStage.ACTIVE
    assert seen[0]
