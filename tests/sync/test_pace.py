"""The pace at a store, on a clock of its own."""

import threading

from keyturn.sync.pace import Pace


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def paced(rate: float | None = None, widest: int = 16) -> tuple[Pace, Time]:
    time = Time()
    return Pace(rate, widest, time.clock, time.sleep), time


def test_successes_widen_the_window_up_to_its_limit() -> None:
    pace, _ = paced(widest=6)
    before = pace.window
    for _ in range(100):
        pace.succeeded()
    assert before < pace.window == 6


def test_a_refusal_halves_the_window_and_waits_as_long_as_asked() -> None:
    pace, time = paced()
    before = pace.window
    pace.throttled(7.5)
    assert pace.window == before / 2
    with pace.turn():
        assert time.now == 7.5


def test_refusals_of_calls_that_were_under_way_together_count_once() -> None:
    pace, time = paced()
    before = pace.window
    for _ in range(4):
        pace.throttled(2.0)
    assert pace.window == before / 2
    time.now = 3.0
    pace.throttled(2.0)
    assert pace.window == before / 4


def test_the_window_never_closes() -> None:
    pace, time = paced()
    for _ in range(20):
        pace.throttled(None)
        time.now += 10
    assert pace.window == 1.0
    with pace.turn():
        pass


def test_turns_are_spread_as_the_quota_asks() -> None:
    pace, time = paced(rate=4.0)
    began = []
    for _ in range(5):
        with pace.turn():
            began.append(time.now)
    assert began == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_no_more_are_at_work_than_the_window_is_wide() -> None:
    pace, _ = paced()
    allowed, busy, seen = int(pace.window), [0], []
    lock, full, go = threading.Lock(), threading.Event(), threading.Event()

    def work() -> None:
        with pace.turn():
            with lock:
                busy[0] += 1
                seen.append(busy[0])
                if busy[0] == allowed:
                    full.set()
            assert go.wait(30)
            with lock:
                busy[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(allowed + 5)]
    for thread in threads:
        thread.start()
    assert full.wait(30)
    go.set()
    for thread in threads:
        thread.join()
    assert max(seen) == allowed
    assert len(seen) == allowed + 5
