"""A trail with a ledger of its own, and a hub that is a table in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.access_log.trail.trail import Trail
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.access_log.trail.logs import Cursors
from tests.ledger.keys import ORIGIN
from tests.support.clock import Clock

OpenTrail = Callable[..., Trail]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    """An empty ledger."""
    made = SqliteLedger(tmp_path / "ledger.db", ORIGIN, patience=5)
    yield made
    made.close()


@pytest.fixture
def cursors() -> Cursors:
    """What the hub keeps."""
    return Cursors()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the trail lies."""
    return tmp_path / "trail"


@pytest.fixture
def open_trail(ledger: SqliteLedger, cursors: Cursors, directory: Path) -> OpenTrail:
    """Opens it as a process does that was begun anew; ``path`` is that of another host's."""
    return lambda path=directory: Trail(path, ledger, cursors, lambda: "approle keyturn-serve", Clock())


@pytest.fixture
def trail(open_trail: OpenTrail) -> Trail:
    """One that is open."""
    return open_trail()
