"""What a process that holds values lets nobody else do with it."""

import os
from typing import Final

from keyturn.client.process_memory import guard_memory

NOTHING_REPORTED: Final = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""What keeps Prefect from reporting the use of it to its makers, unless somebody has set it otherwise."""


def guard_process() -> None:
    """No core dump, and its memory is nobody else's; nor does it, or what it starts, report to Prefect's makers."""
    for name, value in NOTHING_REPORTED.items():
        os.environ.setdefault(name, value)
    guard_memory()
