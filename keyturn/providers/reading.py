"""Continuous reading of notices, in a thread that only the application ends."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from keyturn.core.errors import KeyturnError, TransientError

log = logging.getLogger(__name__)

IDLE: Final = 0.5
PAUSE: Final = 5.0
LASTING: Final = 30.0


class NoticeReader:
    def __init__(self) -> None:
        self._over = threading.Event()

    def read_once(self) -> int:
        """Take the present notices, waiting for a first; the number done. Raises KeyturnError."""
        raise NotImplementedError

    def run(self) -> None:
        read_on(self.read_once, self._over)

    def stop(self) -> None:
        """From any thread; reading ends after the next answer, or some seconds."""
        self._over.set()


def read_on(read: Callable[[], int], over: threading.Event) -> None:
    """Call ``read`` until ``over``. Of a foreign error it logs only the class, because its text may hold a secret."""
    while not over.is_set():
        try:
            pause = 0.0 if read() else IDLE
        except TransientError as error:
            log.warning("%s", error)
            pause = PAUSE
        except KeyturnError as error:
            log.error("%s", error)
            pause = LASTING
        except Exception as error:  # noqa: BLE001  an application's error does not end the reading
            log.error("the application raised %s", type(error).__name__)
            pause = PAUSE
        over.wait(pause)
