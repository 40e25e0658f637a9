"""The latest metrics of the whole workspace. An unreadable area has none.

The part ``numbers`` reads them, in one process at a time. A request for them costs the hub nothing.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn.client.metrics import Distributions, Histogram, Kind, Metric, Samples
from keyturn.serving.numbers.displayed import SHOWN, Area, Shown


@dataclass(frozen=True)
class Numbers:
    """The result of one look at an area: samples and distributions by the metric's name."""

    samples: Mapping[str, Samples]
    distributions: Mapping[str, Distributions]


Look = Callable[[], Numbers]
"""Reads one area. Raises KeyturnError where it can't."""


@dataclass(frozen=True)
class Seen:
    """The last look at an area: when, how long, and its metrics, or None for a failure."""

    at: datetime
    seconds: float
    numbers: Numbers | None
    trouble: str = ""


class Board:
    """The last look at each area. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sightings: dict[Area, Seen] = {}

    def put(self, area: Area, sighting: Seen) -> None:
        """Replace the last look at an area."""
        with self._lock:
            self._sightings[area] = sighting

    def clear(self) -> None:
        """Clear the board, because another process reads from now on."""
        with self._lock:
            self._sightings.clear()

    def seen(self) -> Mapping[Area, Seen]:
        """Return the last look at every area."""
        with self._lock:
            return dict(self._sightings)

    def numbers(self, area: Area) -> Numbers | None:
        """Return an area's metrics, or None where it was not read."""
        with self._lock:
            sighting = self._sightings.get(area)
        return sighting.numbers if sighting else None


def board_metrics() -> list[Metric[Board] | Histogram[Board]]:
    """Return all metrics of a board, beginning with those on its looks."""
    labels = ("area",)
    own: list[Metric[Board] | Histogram[Board]] = [
        Metric("look_up", Kind.GAUGE, "1 for an area that was looked at, 0 where it could not be.", _up, labels=labels),
        Metric("looked_at_seconds", Kind.GAUGE, "When it was looked at last, in seconds since 1970.", _at, "s", labels),
        Metric("look_duration_seconds", Kind.GAUGE, "How long that took.", _durations, "s", labels),
    ]
    return own + [_metric(shown) for shown in SHOWN]


def _metric(shown: Shown) -> Metric[Board] | Histogram[Board]:
    if shown.kind is None:
        return Histogram(shown.name, shown.help, _distributions_of(shown), shown.unit, shown.labels)
    return Metric(shown.name, shown.kind, shown.help, _samples_of(shown), shown.unit, shown.labels)


def _samples_of(shown: Shown) -> Callable[[Board], Samples]:
    def read(board: Board) -> Samples:
        numbers = board.numbers(shown.area)
        return numbers.samples.get(shown.name, {}) if numbers else {}

    return read


def _distributions_of(shown: Shown) -> Callable[[Board], Distributions]:
    def read(board: Board) -> Distributions:
        numbers = board.numbers(shown.area)
        return numbers.distributions.get(shown.name, {}) if numbers else {}

    return read


def _up(board: Board) -> Samples:
    return {(area,): float(sighting.numbers is not None) for area, sighting in board.seen().items()}


def _at(board: Board) -> Samples:
    return {(area,): sighting.at.timestamp() for area, sighting in board.seen().items()}


def _durations(board: Board) -> Samples:
    return {(area,): sighting.seconds for area, sighting in board.seen().items()}
