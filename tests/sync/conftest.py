"""A site for each test."""

import pytest

from tests.support.lab import Lab
from tests.sync.site import Site


@pytest.fixture
def site(lab: Lab) -> Site:
    """A folder of its own in the hub, and two empty stores."""
    return Site(lab)
