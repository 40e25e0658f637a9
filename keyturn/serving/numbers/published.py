"""Numbers of the whole workspace as the hub keeps them: one process has looked, and others tell what it has seen.

Looking takes a worker's rights, since the records of rotations hold candidates. Telling takes none of them: whoever
serves the numbers to others reads these entries alone. They hold names and numbers.
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
"""Seconds by which a look may be late, beside one that was left out, before nobody knows what it would tell now."""


def publish(hub: StatePort, area: Area, sighting: Seen, pause: float) -> None:
    """Keep what was seen of an area, which is looked at again in ``pause`` seconds.

    Raises Conflict where another process has looked meanwhile, and what keeps the hub from taking it.
    """
    place = f"{PUBLISHED}/{area}"
    state = hub.read_state(place)
    hub.write_state(place, entry_of(area, sighting, pause), cas=state.version if state else 0)


def load_published(hub: StatePort, area: Area) -> Seen | None:
    """What was seen of an area, without numbers where that is old by the hub's clock; None where nobody ever looked.

    Raises Invalid for an entry that is none, and what keeps the hub from telling.
    """
    state = hub.read_state(f"{PUBLISHED}/{area}")
    if state is None:
        return None
    try:
        return sighting_of(area, state)
    except (ValueError, TypeError, KeyError, AttributeError):
        place, hint = f"{PUBLISHED}/{area}", "The next look writes it anew: see that the part numbers runs"
        raise Invalid("read", f"the numbers of {area}", f"the hub's entry {place} is none of them", hint) from None


def entry_of(area: Area, sighting: Seen, pause: float) -> dict[str, Any]:
    """As the hub keeps it: all numbers are one text, since OpenBao takes at most 1,000 strings in a request."""
    numbers = json.dumps(list(_plain(area, sighting.numbers))) if sighting.numbers else ""
    at = sighting.at.isoformat()
    return {"format": FORMAT, "at": at, "seconds": sighting.seconds, "pause": pause, "numbers": numbers}


def sighting_of(area: Area, state: State) -> Seen:
    """The reverse. Raises ValueError, TypeError, KeyError, AttributeError for what is none."""
    at, seconds = datetime.fromisoformat(state.data["at"]), float(state.data["seconds"])
    if at.tzinfo is None or state.data["format"] != FORMAT:
        raise ValueError("no look of this format")
    if state.age > 2 * (float(state.data["pause"]) + seconds) + LATE:
        return Seen(at, seconds, None, "nobody has looked since")
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
    """Those that are declared here: a newer release may tell of more."""
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
