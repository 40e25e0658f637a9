"""What a process that holds values lets nobody else do with it."""

import os
import resource
import sys
from contextlib import suppress
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Source: prctl(2), of Linux."""
NOTHING_REPORTED: Final = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""What keeps Prefect from reporting the use of it to its makers, unless somebody has set it otherwise."""


def guard_process() -> None:
    """No core dump of this process or of what it starts; on Linux no other process of its user may read its memory.

    Those that it starts are readable until they call this too. Nor do they report anything to Prefect's makers.
    """
    for name, value in NOTHING_REPORTED.items():
        os.environ.setdefault(name, value)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
