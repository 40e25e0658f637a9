"""The clock that a client counts by: nobody sets it, and it goes on while the machine sleeps."""

import time


def elapsed() -> float:
    """Seconds since some moment, those too in which the machine slept.

    :func:`time.monotonic` leaves those out on Linux (source: clock_gettime(2), CLOCK_BOOTTIME).
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
