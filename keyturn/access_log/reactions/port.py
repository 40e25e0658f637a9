"""The port of what is done about alerts."""

from collections.abc import Sequence
from typing import Protocol

from keyturn.access_log.detection.alerts import Alert


class Reaction(Protocol):
    """One thing that is done about each alert.

    ``name`` tells it from others, in characters of a path. ``burst`` calls may follow each other at once, and then one
    each ``pace`` seconds; what comes meanwhile is given together. One that has not returned after ``patience`` seconds
    counts as failed. What failed is tried again with pauses that grow to ``pause`` seconds.
    """

    name: str
    burst: int
    pace: float
    patience: float
    pause: float

    def react(self, alerts: Sequence[Alert]) -> None:
        """Returns once it is done for all of them. Raises what stops it; then all of them are given again.

        Each comes at least once, a second time with the same ``id``, ``stage`` and ``count``. One thread calls it, but
        where a call has outlived its patience, and another is made meanwhile.
        """
