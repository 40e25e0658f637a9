"""The client's clock, which can't be set, and includes suspended time."""

import time


def elapsed() -> float:
    """Seconds since a fixed moment, including suspended time.

    :func:`time.monotonic` excludes it on Linux (source: clock_gettime(2), CLOCK_BOOTTIME).
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
