"""A ledger in a file of its own, and the key of its checkpoints."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.checkpoints import Checkpoint
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.support.clock import Clock

Make = Callable[[], Checkpoint | None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the ledger lies."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[SqliteLedger]:
    """An empty one."""
    made = SqliteLedger(file, ORIGIN, patience=5)
    yield made
    made.close()


@pytest.fixture
def key() -> Key:
    """What signs the checkpoints."""
    return Key()


@pytest.fixture
def kept() -> Memory:
    """What the hub would keep."""
    return Memory()


@pytest.fixture
def clock() -> Clock:
    """The time of the checkpoints."""
    return Clock()


@pytest.fixture
def make(ledger: SqliteLedger, key: Key, kept: Memory, clock: Clock) -> Make:
    """Makes a checkpoint of the ledger."""
    return lambda: sign_checkpoint(ledger, key, kept, clock, verify_ed25519)
