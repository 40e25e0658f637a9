"""What a process that holds values lets nobody else do with it, and how it ends."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Final, NoReturn

from keyturn.client.process_memory import guard_memory

NOTHING_REPORTED: Final = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""What keeps Prefect from reporting the use of it to its makers, unless somebody has set it otherwise."""


def guard_process() -> None:
    """No core dump, and its memory is nobody else's; nor does it, or what it starts, report to Prefect's makers."""
    for name, value in NOTHING_REPORTED.items():
        os.environ.setdefault(name, value)
    guard_memory()


UNWRITTEN: Final = 120
"""Python's own exit code where what was written can't be flushed at the end."""


def end_with(act: Callable[[], None]) -> NoReturn:
    """Do it as the last of this process, and end as Python does, but for taking every module apart.

    Threads are waited for, what is registered for the end is done, and streams are flushed. The rest would take a
    quarter of a second, and in a run would copy all of the memory that runs share.
    """
    code = 0
    try:
        act()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  told as Python would
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
