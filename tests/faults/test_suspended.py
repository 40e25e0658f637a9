"""A worker that is suspended wakes up after newer runs have done without it, and can't harm what they did."""

from collections.abc import Iterator

import pytest

from tests.crash.kinds.base import Kind
from tests.crash.kinds.databases import Alternating, Single
from tests.crash.kinds.engines import Dynamic
from tests.crash.site import Site
from tests.faults.suspended import Case, Suspensions
from tests.support.lab import Lab
from tests.support.sampling import sample

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

ONE_IN = 8
"""Of the places to be suspended at, one in so many is tried."""

ONE_IN_LOCKING = 12
"""Of the places within a transaction, where newer runs wait for seconds."""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made:
        yield made


@pytest.mark.parametrize("kind", [Alternating, Dynamic, Single], ids=lambda kind: kind.name)
def test_a_worker_that_was_suspended_anywhere_harms_nothing_that_newer_runs_did(site: Site, kind: type[Kind]) -> None:
    suspensions = Suspensions(site, kind())
    cases = suspensions.cases()
    results = suspensions.run(chosen(kind, cases))
    assert len(cases) > 20
    assert [(one.case, one.ended, one.problems) for one in results if one.problems] == []
    assert len(results) > 2


def chosen(kind: type[Kind], cases: list[Case]) -> list[Case]:
    """Some of the places that hold a lock, and some of the others."""
    locking, others = [case for case in cases if case.locking], [case for case in cases if not case.locking]
    return [
        *sample(f"suspended, {kind.name}", others, ONE_IN),
        *sample(f"suspended in a transaction, {kind.name}", locking, ONE_IN_LOCKING),
    ]
