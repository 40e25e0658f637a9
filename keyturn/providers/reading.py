"""Reading notices on and on, in a thread of an application that nobody watches: nothing ends it but the application."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from keyturn.core.errors import KeyturnError, TransientError

log = logging.getLogger(__name__)

IDLE: Final = 0.5
"""Seconds after a look at which nothing was taken: whoever holds no answer back is not asked without a pause."""
PAUSE: Final = 5.0
"""Seconds after a look that has failed, as where the other side is away."""
LASTING: Final = 30.0
"""Seconds after one that a person has to mend, such as a right that is lacking: it may be mended, and goes on then."""


class NoticeReader:
    """Reads one place for notices: what takes them there says so in :meth:`read_once`."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def read_once(self) -> int:
        """Take what is there, waiting for the first for a while; how many are done with. Raises KeyturnError."""
        raise NotImplementedError

    def run(self) -> None:
        """Read until :meth:`stop`. What goes wrong is logged, and tried again."""
        read_on(self.read_once, self._over)

    def stop(self) -> None:
        """End it once the other side has answered, or within some seconds, from any thread."""
        self._over.set()


def read_on(read: Callable[[], int], over: threading.Event) -> None:
    """Call ``read``, which tells how many messages it has taken, until it is ``over``. What it raises is logged.

    Of an error that is none of ours the class alone is logged, for its text may hold a secret.
    """
    while not over.is_set():
        try:
            pause = 0.0 if read() else IDLE
        except TransientError as error:
            log.warning("%s", error)
            pause = PAUSE
        except KeyturnError as error:
            log.error("%s", error)
            pause = LASTING
        except Exception as error:  # noqa: BLE001  whatever the application raises, its next notice is read
            log.error("the application raised %s", type(error).__name__)
            pause = PAUSE
        over.wait(pause)
