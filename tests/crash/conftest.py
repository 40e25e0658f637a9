"""The servers of the matrix, which its tests share."""

from collections.abc import Iterator

import pytest

from tests.crash.site import Site
from tests.support.lab import Lab


@pytest.fixture(scope="package")
def site(lab: Lab) -> Iterator[Site]:
    """Nothing but what each kind asks for."""
    with Site(lab) as made:
        yield made
