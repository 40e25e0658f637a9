"""A hub in which nothing was set up yet, for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.openbao import OpenBao
from tests.hub_setup.site import Empty, empty_hub


@pytest.fixture
def empty(openbao: OpenBao, tmp_path: Path) -> Iterator[Empty]:
    """One."""
    with empty_hub(openbao, tmp_path) as made:
        yield made
