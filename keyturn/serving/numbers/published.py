"""The workspace's metrics as stored in the hub: one process reads the workspace, others report the metrics.

Reading requires a worker's rights, because the records of rotations hold candidates. Reporting requires only read
access to these entries, which contain names and numbers.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from keyturn.client.metrics import Distribution, Distributions, Samples
from keyturn.core.errors import Invalid
from keyturn.core.ports.hub import State, StatePort
from keyturn.serving.numbers.board import Numbers, Seen
from keyturn.serving.numbers.displayed import SHOWN, Area, Shown
from keyturn.serving.parts import PUBLISHED

FORMAT: Final = 1

LATE: Final = 60.0
"""Seconds of delay, beyond one missed look, after which the metrics count as unknown."""


def publish(hub: StatePort, area: Area, sighting: Seen, pause: float) -> None:
    """Store what was read of an area; the next look is due in ``pause`` seconds.

    Raises Conflict for a concurrent write, and the hub's errors.
    """
    place = f"{PUBLISHED}/{area}"
    state = hub.read_state(place)
    hub.write_state(place, entry_of(area, sighting, pause), cas=state.version if state else 0)


def load_published(hub: StatePort, area: Area) -> Seen | None:
    """Return an area's stored metrics: without numbers where too old by the hub's clock, None where missing.

    Raises Invalid for an unreadable entry, and the hub's errors.
    """
    state = hub.read_state(f"{PUBLISHED}/{area}")
    if state is None:
        return None
    try:
        return sighting_of(area, state)
    except (ValueError, TypeError, KeyError, AttributeError):
        place, hint = f"{PUBLISHED}/{area}", "The next check writes it again: check that the part numbers runs"
        raise Invalid("read", f"the numbers of {area}", f"the hub's entry {place} is none of them", hint) from None


def entry_of(area: Area, sighting: Seen, pause: float) -> dict[str, Any]:
    """Return the entry for the hub. All numbers are one text: OpenBao takes at most 1,000 strings per request."""
    numbers = json.dumps(list(_plain(area, sighting.numbers))) if sighting.numbers else ""
    at = sighting.at.isoformat()
    return {"format": FORMAT, "at": at, "seconds": sighting.seconds, "pause": pause, "numbers": numbers}


def sighting_of(area: Area, state: State) -> Seen:
    """Return the metrics in an entry. Raises ValueError, TypeError, KeyError, AttributeError."""
    at, seconds = datetime.fromisoformat(state.data["at"]), float(state.data["seconds"])
    if at.tzinfo is None or state.data["format"] != FORMAT:
        raise ValueError("no look of this format")
    if state.age > 2 * (float(state.data["pause"]) + seconds) + LATE:
        return Seen(at, seconds, None, "not checked since")
    text = state.data["numbers"]
    return Seen(at, seconds, _numbers(area, json.loads(text)) if text else None)


def _plain(area: Area, numbers: Numbers) -> Iterator[list[Any]]:
    for shown in _of(area):
        if samples := numbers.samples.get(shown.name):
            yield [shown.name, [[*labels, value] for labels, value in samples.items()]]
        if distributions := numbers.distributions.get(shown.name):
            yield [shown.name, [[*labels, *_spread(each)] for labels, each in distributions.items()]]


def _spread(distribution: Distribution) -> list[Any]:
    return [list(distribution.bounds), list(distribution.counts), distribution.count, distribution.sum]


def _numbers(area: Area, listed: list[Any]) -> Numbers:
    """Return the metrics that are declared here; a newer release may publish more."""
    rows: Mapping[str, list[list[Any]]] = {str(name): rows for name, rows in listed}
    samples: dict[str, Samples] = {}
    distributions: dict[str, Distributions] = {}
    for shown in _of(area):
        if shown.name in rows and shown.kind is None:
            distributions[shown.name] = dict(_distribution(shown, row) for row in rows[shown.name])
        elif shown.name in rows:
            samples[shown.name] = dict(_sample(shown, row) for row in rows[shown.name])
    return Numbers(samples, distributions)


def _sample(shown: Shown, row: list[Any]) -> tuple[tuple[str, ...], float]:
    *labels, value = row
    return _labels(shown, labels), float(value)


def _distribution(shown: Shown, row: list[Any]) -> tuple[tuple[str, ...], Distribution]:
    *labels, bounds, counts, count, total = row
    spread = Distribution(tuple(map(float, bounds)), tuple(map(int, counts)), int(count), float(total))
    if len(spread.bounds) != len(spread.counts):
        raise ValueError("a count for each bound is expected")
    return _labels(shown, labels), spread


def _labels(shown: Shown, labels: list[Any]) -> tuple[str, ...]:
    if len(labels) != len(shown.labels):
        raise ValueError("other labels are expected")
    return tuple(map(str, labels))


def _of(area: Area) -> list[Shown]:
    return [shown for shown in SHOWN if shown.area == area]
