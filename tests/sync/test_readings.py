"""Values that are read once for many copies, and not held for long."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.ports.hub import HubSecret
from keyturn.core.sensitive import SecretFields
from keyturn.sync.readings import FRESH, MOST, Readings


class Hub:
    """Counts how often each path is read; every reading is another version."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.error: Exception | None = None

    def read(self, path: str) -> HubSecret:
        self.reads[path] += 1
        if self.error:
            raise self.error
        return HubSecret(path, self.reads[path], SecretFields({"x": "1"}))


@pytest.fixture
def hub() -> Hub:
    return Hub()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_threads_that_ask_together_wait_for_one_reading(hub: Hub) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(path: str) -> HubSecret:
        begun.set()
        assert go_on.wait(30)
        return hub.read(path)

    readings = Readings(slowly)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(readings.get, "a") for _ in range(8)]
        assert begun.wait(30)
        go_on.set()
        assert {one.result().version for one in asked} == {1}
    assert hub.reads == {"a": 1}


def test_a_value_that_is_some_seconds_old_is_read_again(hub: Hub) -> None:
    clock = Clock()
    readings = Readings(hub.read, clock)
    assert readings.get("a").version == 1
    clock.now += FRESH
    assert readings.get("a").version == 1
    clock.now += 0.1
    assert readings.get("a").version == 2


def test_what_is_too_old_is_not_held_even_where_nobody_asks_for_it(hub: Hub) -> None:
    clock = Clock()
    readings = Readings(hub.read, clock)
    readings.get("a")
    clock.now += FRESH + 1
    readings.get("b")
    assert set(readings._held) == {"b"}


def test_no_more_values_are_held_than_there_is_room_for(hub: Hub) -> None:
    readings = Readings(hub.read, Clock())
    for number in range(MOST + 10):
        readings.get(f"s{number}")
    assert len(readings._held) == MOST
    assert readings.get("s0").version == 2
    assert readings.get(f"s{MOST + 9}").version == 1


def test_a_reading_that_failed_is_told_to_all_that_wait_and_not_remembered(hub: Hub) -> None:
    hub.error = Unavailable("read", "a", "no answer")
    readings = Readings(hub.read)
    with pytest.raises(Unavailable):
        readings.get("a")
    hub.error = None
    assert readings.get("a").version == 2
