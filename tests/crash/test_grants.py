"""A delivery, or an end, that is killed anywhere is finished by the next run: nothing is given twice, and all ends."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.opening import return_access
from keyturn.grants.requests import end_access, find_request
from keyturn.rotation.state.context import Workspace, this_process
from keyturn.rotation.state.grant_store import AccessGrant, Ending, GrantStage, end_grant
from tests.support.boundaries import Boundaries
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.hooks import eventually
from tests.support.lab import Lab
from tests.support.sampling import sample

pytestmark = [pytest.mark.slow, pytest.mark.sampled(4, of="file")]

ONE_IN = 8
"""Of the places to be killed at one in so many is tried, and FEWEST at least."""
FEWEST = 2

LIFE = timedelta(minutes=5)

Work = Callable[[Workspace], object]


@pytest.fixture(scope="module")
def site(lab: Lab) -> GivenSite:
    return given_site(lab, people_with_least_rights(lab), reader_role(lab))


def boundaries(site: GivenSite, work: Work) -> int:
    """How many requests it makes in a process of its own that nobody stops."""
    reading, writing = os.pipe()
    assert in_a_process(site, work, lambda passed: os.write(writing, bytes([len(passed.names)]))) == 0
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        return told.read()[0]


def killed(site: GivenSite, work: Work, number: int) -> None:
    """Do it in a process of its own, which dies before its request of that number."""
    assert os.WTERMSIG(in_a_process(site, work, lambda _: None, number)) == signal.SIGKILL


def in_a_process(site: GivenSite, work: Work, done: Callable[[Boundaries], object], number: int | None = None) -> int:
    """How a process ended that does it, and what is to be ``done`` then."""
    workspace = site.at_work("granter")
    # What is connected is one process's alone.
    site.lab.hub.close()
    if not (pid := os.fork()):
        ending = 1
        try:
            with Boundaries(number) as passed:
                work(replace(workspace, holder=this_process()))
            done(passed)
            ending = 0
        finally:
            os._exit(ending)
    return os.waitpid(pid, 0)[1]


def tokens(site: GivenSite, request: AccessRequest) -> list[str]:
    """Those that were made for it, and live."""
    grant = site.grant_of(request)
    return site.lab.hub.grants().tokens(grant.place) if grant else []


def end_by_themselves(site: GivenSite, accessors: list[str]) -> Iterator[bool]:
    """Whether each of them ends with the grant's time, though nobody of Keyturn's comes back."""
    for accessor in accessors:
        about = site.lab.root.auth.token.lookup_accessor(accessor)["data"]
        yield about["explicit_max_ttl"] == LIFE.total_seconds()
        yield about["ttl"] <= LIFE.total_seconds()


def test_a_delivery_that_is_killed_anywhere_is_finished_and_nothing_is_given_twice(site: GivenSite) -> None:
    def work(name: str) -> Work:
        return lambda workspace: deliver_access(workspace, name)

    count = boundaries(site, work(site.approved(LIFE).id))
    numbers = sample("a delivery, killed", range(count), ONE_IN, FEWEST)
    assert len(numbers) >= FEWEST
    for number in numbers:
        request = site.approved(LIFE)
        killed(site, work(request.id), number)
        assert all(end_by_themselves(site, tokens(site, request))), number
        grant = deliver_access(site.at_work("granter"), request.id)
        assert tokens(site, request) == [grant.accessor], number
        opened = site.open(request.id)
        assert site.lab.logs_in(opened.fields), number
        with pytest.raises(Invalid, match="opens once"):
            site.open(request.id)
        assert deliver_access(site.at_work("granter"), request.id).accessor == grant.accessor, number
        # Nobody may have more than a few that wait.
        end_access(site.at_work("bea"), request.id)
        site.sweep()


def test_an_end_that_is_killed_anywhere_is_finished_by_the_next_sweep(site: GivenSite) -> None:
    def work(grant: AccessGrant) -> Work:
        return lambda workspace: end_grant(workspace, grant, Ending("it was given back"))

    def given_back() -> tuple[AccessGrant, SecretFields]:
        grant = site.given(LIFE)
        fields = site.open(grant.request).fields
        return_access(site.at_work("ana"), grant.request)
        return grant, fields

    count = boundaries(site, work(given_back()[0]))
    numbers = sample("an end, killed", range(count), ONE_IN, FEWEST)
    assert len(numbers) >= FEWEST
    for number in numbers:
        grant, fields = given_back()
        killed(site, work(grant), number)
        site.sweep()
        request = find_request(site.at_work("bea"), grant.request)
        left = site.grant_of(request)
        assert left is not None
        assert (left.stage, left.because) == (GrantStage.ENDED, "it was given back"), number
        assert tokens(site, request) == [], number
        end_access(site.at_work("bea"), request.id)
        assert eventually(lambda: not site.lab.logs_in(fields)), number  # noqa: B023
