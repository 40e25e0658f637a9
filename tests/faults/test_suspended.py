"""A worker that is suspended wakes up after newer runs have done without it, and can't harm what they did."""

from collections.abc import Iterator

import pytest

from tests.crash.kinds.base import Kind
from tests.crash.kinds.databases import Alternating, Single
from tests.crash.kinds.engines import Dynamic
from tests.crash.site import Site
from tests.faults.suspended import Case, Suspensions
from tests.support.lab import Lab

pytestmark = pytest.mark.slow

EVERY = 4
"""Of the places to be suspended at, one in so many is tried; 1 tries them all."""

EVERY_LOCKING = 12
"""Of the places within a transaction, where newer runs wait for seconds; 1 tries them all."""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made:
        yield made


@pytest.mark.parametrize("kind", [Alternating, Dynamic, Single], ids=lambda kind: kind.name)
def test_a_worker_that_was_suspended_anywhere_harms_nothing_that_newer_runs_did(site: Site, kind: type[Kind]) -> None:
    with Suspensions(site, kind()) as suspensions:
        cases = suspensions.cases()
        results = suspensions.run(sample(cases))
    assert len(cases) > 20
    assert [(one.case, one.ended, one.problems) for one in results if one.problems] == []
    assert len(results) >= len([case for case in cases if not case.locking]) // EVERY


def sample(cases: list[Case]) -> list[Case]:
    """Some of the places that hold a lock, and some of the others."""
    locking = [case for case in cases if case.locking]
    # From the middle on: the first statements of a transaction have changed nothing yet.
    return [case for case in cases if not case.locking][::EVERY] + locking[len(locking) // 2 :: EVERY_LOCKING]
