"""Each recipe, stopped at every request to its service: no living orphan, and no lost value."""

from collections.abc import Iterator

import pytest

from keyturn.catalogue.recipes import Library
from tests.crash.matrix import Case, Result, Row
from tests.crash.site import Site
from tests.recipes.kind import PLAYED, RecipeKind
from tests.support.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.sampled(3)]

NAMES = [name for name, recipe in Library().items() if recipe.strategy in PLAYED]


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_rotation_stopped_at_any_request_leaves_no_orphan_and_loses_no_value(site: Site, name: str) -> None:
    results: list[Result] = []
    row = Row(site, RecipeKind(name))
    cases = [case for case in row.cases() if is_request(case)]
    assert len(cases) >= 6, "create, test and delete, each killed and with a lost answer"
    row.run(cases, results.append)
    assert [(one.case, one.problems) for one in results if one.problems] == []


def is_request(case: Case) -> bool:
    """Whether it stops the rotation at a request to the service: at its boundary, or at its answer."""
    return "HttpApi." in case.place or "recipe" in case.place
