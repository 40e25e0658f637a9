"""What a process that holds values lets nobody else do with its memory."""

import resource
import sys
from contextlib import suppress
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Source: prctl(2), of Linux."""


def guard_memory() -> None:
    """No core dump of this process or of what it starts; on Linux no other process of its user may read its memory.

    Those that it starts are readable until they call this too.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
