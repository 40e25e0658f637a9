"""Requests are found by name directly, and ended ones slow no others."""

from dataclasses import replace
from typing import Any

import pytest

from keyturn.core.errors import Invalid, NotFound
from keyturn.grants import requests
from keyturn.grants.opening import return_access
from keyturn.grants.requests import MOST_OPEN
from tests.support.access import people_of
from tests.support.given import GivenSite, given_site, people_with_least_rights, reader_role
from tests.support.hooks import Hooked
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(3, of="file")


@pytest.fixture(scope="module")
def site(lab: Lab) -> GivenSite:
    return given_site(lab, people_with_least_rights(lab), reader_role(lab))


@pytest.mark.parametrize("who", ["ana", "bea", "granter"])
def test_it_is_found_by_its_name_in_one_folder_alone(site: GivenSite, who: str) -> None:
    request, read = site.ask(), list[str]()
    workspace = site.at_work(who)
    counted: Any = Hooked(workspace.hub, read_state=read.append, list_state=lambda prefix: pytest.fail("all listed"))
    assert requests.find_request(replace(workspace, hub=counted), request.id) == request
    assert read == [request.place]


def test_a_name_that_an_older_version_gave_is_found_and_one_that_nobody_bears_is_not(site: GivenSite) -> None:
    request = site.ask()
    digits = "0000" if not request.id.startswith("AR-0000") else "1111"
    old = replace(request, id=f"AR-{digits}{request.id[-8:]}")
    site.access.forge(old)
    assert requests.find_request(site.at_work("bea"), old.id) == old
    with pytest.raises(NotFound, match="no request of that name"):
        requests.find_request(site.at_work("bea"), "AR-00000000dead")


def test_a_request_in_another_folder_under_the_same_name_is_taken_for_none(site: GivenSite) -> None:
    request, dora = site.ask(), site.access.people["dora"].entity
    site.access.forge(replace(request, entity=dora, purpose="mine"))
    assert requests.find_request(site.at_work("bea"), request.id) == request


def test_what_has_ended_or_was_given_back_does_not_count_among_those_that_are_open(lab: Lab) -> None:
    people = {**people_of(lab), **people_with_least_rights(lab)}
    site = given_site(lab, people, reader_role(lab))
    ended = site.given()
    requests.end_access(site.at_work("bea"), ended.request)
    site.sweep()
    return_access(site.at_work("ana"), site.approved().id)
    for _ in range(MOST_OPEN):
        site.ask()
    with pytest.raises(Invalid, match=f"{MOST_OPEN} requests of yours are open"):
        site.ask()
