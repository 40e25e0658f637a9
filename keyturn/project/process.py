"""Protects a process that holds values, and ends it."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Final, NoReturn

from keyturn.client.process_memory import guard_memory

NOTHING_REPORTED: Final = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""Disables Prefect's usage reports."""


def guard_process() -> None:
    """Prevent core dumps, access to the memory, and Prefect's usage reports."""
    for name, value in NOTHING_REPORTED.items():
        os.environ.setdefault(name, value)
    guard_memory()


UNWRITTEN: Final = 120
"""Python's exit code if the output can't be flushed at the end."""


def end_with(act: Callable[[], None]) -> NoReturn:
    """Call ``act``, then end this process as Python does, without tearing down its modules.

    The teardown would take a quarter of a second, and copy a forked run's shared memory.
    """
    code = 0
    try:
        act()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  reported as Python does
        sys.excepthook(*sys.exc_info())
        code = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or UNWRITTEN
    finally:
        os._exit(code)
