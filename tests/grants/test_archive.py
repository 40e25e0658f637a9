"""Old access requests are archived, remain searchable, and none in use is removed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keyturn.core.errors import Denied, Invalid, NotFound
from keyturn.core.ports.hub import State
from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.archive import EVERY, MOST, Archivist, attempt, chosen
from keyturn.grants.opening import return_access
from keyturn.grants.requests import find_request
from keyturn.grants.reviews import list_broken_access, review_access
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.hooks import Hooked, Replaced
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(3, of="file")

LATER = timedelta(days=91)


@pytest.fixture(scope="module")
def site(lab: Lab) -> GivenSite:
    return given_site(lab, people_with_least_rights(lab), reader_role(lab), break_glass=True)


def put_away(site: GivenSite, request: AccessRequest, after: timedelta = LATER) -> bool:
    """Whether a look that much later puts it away."""
    workspace = site.at_work("granter")
    assert attempt(workspace, request.place, workspace.hub_now() + after) is None
    return entry(site, request.place) is None


def entry(site: GivenSite, place: str) -> State | None:
    return site.lab.hub.read_state(place)


def ended(site: GivenSite) -> AccessRequest:
    """One that was given, opened and ended."""
    grant = site.given()
    site.open(grant.request)
    requests.end_access(site.at_work("bea"), grant.request)
    site.sweep()
    return find_request(site.at_work("bea"), grant.request)


def test_what_is_long_over_lies_in_the_archive_and_is_found_there_by_whoever_may(site: GivenSite) -> None:
    request = ended(site)
    assert not put_away(site, request, timedelta(days=89))
    assert put_away(site, request)
    assert [
        entry(site, place) for place in (request.grant_place, request.grant_place.replace("granted", "deliveries"))
    ] == [
        None,
        None,
    ]
    assert [place for place in site.lab.hub.list_state("receipts") if request.id in place] == []
    for who in ("ana", "bea"):
        assert find_request(site.at_work(who), request.id) == request
    with pytest.raises((NotFound, Denied)):
        find_request(replace(site.access.as_person("ana"), hub=site.access.people["granter"].hub()), "AR-00000000dead")
    kept = entry(site, request.archive_place)
    assert kept is not None
    assert "token" not in kept.data
    with pytest.raises(Denied):
        site.at_work("granter").hub.write_state(request.archive_place, {"request": "{}"}, cas=kept.version)


def test_what_goes_on_or_waits_for_a_review_stays(site: GivenSite) -> None:
    workspace = site.at_work("ana")
    path = site.access.secret.path
    glass = requests.ask_for_access(workspace, path, timedelta(minutes=5), "on fire", break_glass=True)
    grant = site.given()
    active = find_request(site.at_work("bea"), grant.request)
    assert not put_away(site, glass)
    assert not put_away(site, active)
    requests.end_access(site.at_work("bea"), glass.id)
    review_access(site.at_work("bea"), glass.id, "two queries")
    assert put_away(site, glass)
    assert glass.id in {each.id for each in list_broken_access(replace(site.at_work("bea"), hub=site.lab.hub))}


def test_what_its_asker_has_given_back_is_reviewed_once_it_has_ended(site: GivenSite) -> None:
    path = site.access.secret.path
    glass = requests.ask_for_access(site.at_work("ana"), path, timedelta(minutes=5), "on fire", break_glass=True)
    grant = deliver_access(site.at_work("granter"), glass.id)
    site.open(glass.id)
    return_access(site.at_work("ana"), glass.id)
    with pytest.raises(Invalid, match="is still active"):
        review_access(site.at_work("bea"), glass.id, "two queries")
    site.sweep()
    assert site.why(grant) == "it was given back"
    assert review_access(site.at_work("bea"), glass.id, "two queries").review


def test_whoever_comes_after_one_that_died_goes_on(site: GivenSite) -> None:
    request, granter = ended(site), site.at_work("granter")
    removed = list[str]()

    def die(place: str) -> None:
        removed.append(place)
        if place == request.grant_place:
            raise KeyboardInterrupt

    broken: Any = Hooked(granter.hub, delete_state=die)
    with pytest.raises(KeyboardInterrupt):
        attempt(replace(granter, hub=broken), request.place, granter.hub_now() + LATER)
    assert entry(site, request.place) is not None
    assert put_away(site, request)
    assert find_request(site.at_work("bea"), request.id) == request


def test_a_look_is_at_a_few_of_many_now_and_then(site: GivenSite) -> None:
    request, workspace, listed = ended(site), site.at_work("granter"), list[str]()

    def listing(prefix: str) -> Iterator[str]:
        listed.append(prefix)
        return iter([request.place])

    def at(moment: datetime) -> Any:
        return replace(workspace, hub=Replaced(workspace.hub, list_state=listing), hub_clock=lambda: moment)

    archivist, later = Archivist(), workspace.hub_now() + LATER
    assert archivist.look(at(later)) == []
    assert entry(site, request.place) is None
    assert (archivist.look(at(later)), archivist.look(at(later + EVERY))) == ([], [])
    assert listed == ["grants", "grants"]
    places = [f"grants/e/{number}" for number in range(3 * MOST)]
    assert len(set(chosen(places))) == MOST
