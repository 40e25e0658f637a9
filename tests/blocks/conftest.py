"""The Prefect server of the test run."""

from collections.abc import Iterator

import pytest

from tests.support.prefect_server import PrefectServer, shared


@pytest.fixture
def prefect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """The server, and this process uses it."""
    server = shared(request.config, tmp_path_factory)
    with server.in_use():
        yield server
