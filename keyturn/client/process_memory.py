"""Protects the memory of a process that holds values."""

import resource
import sys
from contextlib import suppress
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Source: prctl(2), of Linux."""


def guard_memory() -> None:
    """Prevent core dumps, and on Linux memory reads by the user's other processes.

    Children are readable until they call this too.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
