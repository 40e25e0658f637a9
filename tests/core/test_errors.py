"""One tree, whose class says whether to try again."""

import pickle

import pytest

from keyturn.core import errors
from keyturn.core.errors import (
    RETRY_AFTER_LIMIT,
    Contended,
    HubUnavailable,
    KeyturnError,
    Locked,
    NotEnded,
    TerminalError,
    Throttled,
    TransientError,
    Unavailable,
    Unrecorded,
    Unwitnessed,
)

LEAVES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, KeyturnError)
    and not any(below.__module__ == errors.__name__ for below in kind.__subclasses__())
]


def test_every_error_says_by_its_class_whether_to_try_again() -> None:
    assert len(LEAVES) > 8
    assert all(issubclass(kind, TransientError) != issubclass(kind, TerminalError) for kind in LEAVES)
    assert {kind for kind in LEAVES if issubclass(kind, TransientError)} == {
        Contended,
        Locked,
        Throttled,
        HubUnavailable,
        NotEnded,
        Unrecorded,
        Unwitnessed,
    }


def test_a_message_tells_what_to_what_why_and_what_to_do() -> None:
    error = KeyturnError("write", "aws:db", "it is full", "Make room")
    assert str(error) == "write aws:db: it is full. Make room"
    assert str(KeyturnError("write", "aws:db", "it is full")) == "write aws:db: it is full"


def test_the_innermost_step_stays() -> None:
    error = Unavailable("write", "aws:db", "no answer").during("sync", "ml/db").during("rotate", "other")
    assert str(error) == "ml/db, sync: write aws:db: no answer"


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_between_processes(kind: type[KeyturnError]) -> None:
    error = pickle.loads(pickle.dumps(kind("write", "aws:db", "problem", "hint").during("sync", "ml/db")))  # noqa: S301
    assert (type(error), str(error)) == (kind, "ml/db, sync: write aws:db: problem. hint")


def test_a_throttled_call_knows_how_long_to_wait() -> None:
    assert Throttled("write", "aws:db", "slow", retry_after=2.5).retry_after == 2.5
    assert Throttled("write", "aws:db", "slow", retry_after=86_400.0).retry_after == RETRY_AFTER_LIMIT == 60.0
