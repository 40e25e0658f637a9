"""One house for the tests that change nothing of it."""

from collections.abc import Iterator

import pytest

from tests.evidence.scene import House, house


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A ledger with a checkpoint, and the facts."""
    with house(tmp_path_factory.mktemp("house")) as built:
        yield built
