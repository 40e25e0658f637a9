"""The metrics of a serving process itself."""

import platform
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn import __version__
from keyturn.client.metrics import Kind, Metric, Samples
from keyturn.serving.numbers.board import Board
from keyturn.serving.supervisor import PartState

PREFIX: Final = "keyturn_serve_"

EVENTS: Final = "events"
MALFORMED: Final = "malformed"
GAPS: Final = "gaps"
SEGMENTS: Final = "segments"
ALERTS: Final = "alerts"
FAILURES: Final = "reaction_failures"
SIGN_INS: Final = "sign_ins"

COUNTED: Final = {
    EVENTS: "Accesses that a source reported.",
    MALFORMED: "Records of a source that could not be read.",
    GAPS: "Times that something of a source was missing.",
    SEGMENTS: "Segments of the access trail that were sealed.",
    ALERTS: "Alerts that were sent.",
    FAILURES: "Times that a reaction to alerts has failed.",
    SIGN_INS: "Sign-ins to the page, by result.",
}
"""The counters, by source."""


class Counts:
    """Counters by name and source since the process began. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, name: str, source: str, count: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name][source] += count

    def of(self, name: str) -> Mapping[str, int]:
        """Return a counter's values by source."""
        with self._lock:
            return dict(self._counts[name])


@dataclass(frozen=True)
class Serving:
    """What a serving process reports: its parts, counters and board."""

    parts: Callable[[], Mapping[str, PartState]] = dict
    counts: Counts = field(default_factory=Counts)
    board: Board = field(default_factory=Board)


def serving_metrics() -> Sequence[Metric[Serving]]:
    """Return the metrics of a serving process."""
    return [
        Metric("part_running", Kind.GAUGE, "1 for a part that runs in this process.", _running, labels=("part",)),
        Metric("part_lease", Kind.GAUGE, "The number of its lease here.", _leases, labels=("part",)),
        Metric("part_failures", Kind.GAUGE, "How often in a row it has failed here.", _failures, labels=("part",)),
        Metric("part_lag_seconds", Kind.GAUGE, "How far it is behind what it reads.", _lags, "s", ("part",)),
        *(Metric(name, Kind.COUNTER, text, _count_of(name), labels=("source",)) for name, text in COUNTED.items()),
    ]


def build_metric() -> Metric[Any]:
    """Return the installed versions as labels of a metric that is always 1."""
    labels = (__version__, platform.python_version())
    return Metric("build_info", Kind.GAUGE, "Always 1.", lambda _: {labels: 1.0}, labels=("version", "python"))


def _running(serving: Serving) -> Samples:
    return {(name,): float(state.running) for name, state in serving.parts().items()}


def _leases(serving: Serving) -> Samples:
    return {(name,): state.number for name, state in serving.parts().items() if state.running}


def _failures(serving: Serving) -> Samples:
    return {(name,): state.failures for name, state in serving.parts().items()}


def _lags(serving: Serving) -> Samples:
    lags = {name: state.health.lag for name, state in serving.parts().items() if state.running}
    return {(name,): lag for name, lag in lags.items() if lag is not None}


def _count_of(name: str) -> Callable[[Serving], Samples]:
    return lambda serving: {(source,): count for source, count in serving.counts.of(name).items()}
