"""The port of reactions to alerts."""

from collections.abc import Sequence
from typing import Protocol

from keyturn.access_log.detection.alerts import Alert


class Reaction(Protocol):
    """A reaction to alerts.

    ``name`` is unique, with characters of a path. ``burst`` calls may be made at once, then one every ``pace`` seconds.
    A call fails after ``patience`` seconds. Retries wait at most ``pause`` seconds.
    """

    name: str
    burst: int
    pace: float
    patience: float
    pause: float

    def react(self, alerts: Sequence[Alert]) -> None:
        """Return once all alerts are handled. Raises where that fails, and all are delivered again.

        Each arrives at least once, again with the same ``id``, ``stage`` and ``count``. Calls are sequential, except
        after one that exceeded its patience.
        """
