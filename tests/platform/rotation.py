"""Rotations by schedule, as these tests wait for them."""

import time
from collections.abc import Callable
from typing import Final

from tests.platform.installation import Installation

AT_WORK: Final = "Flow run 'rotate-due' - View at"
GIVEN_UP: Final = 360.0
"""Seconds in which another run goes on with what a killed one has left."""


def eventually(check: Callable[[], bool], what: str, seconds: float = GIVEN_UP) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def rotate_on_schedule(
    installation: Installation, log: Callable[[], str], at_work: Callable[[], None] = lambda: None
) -> int:
    """Make the secret due and wait for its next version, which is returned.

    ``log`` has what the worker writes; ``at_work`` is called when a run of it that rotates has begun.
    """
    version, begun = installation.version(), log().count(AT_WORK)
    installation.make_due()
    eventually(lambda: log().count(AT_WORK) > begun, log())
    at_work()
    eventually(lambda: installation.version() > version, log())
    assert installation.version() == version + 1
    eventually(installation.settled, "the credential before it has not ended")
    assert installation.logs_in()
    return version + 1
