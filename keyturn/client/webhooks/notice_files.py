"""Notices that are laid into a directory of this machine, one file each: taken once they are handled, and not before.

notices = NoticeFiles("/run/trainer/notices", lambda text: receiver.handle_message(text, client.told))
signal.signal(signal.SIGHUP, notices.wake)
threading.Thread(target=notices.run, daemon=True).start()
"""

import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from keyturn.client.webhooks.receiver import BODY_LIMIT
from keyturn.core.notifications.messages import AGAIN, TAKEN

log = logging.getLogger(__name__)

SUFFIX: Final = ".json"
AT_ONCE: Final = 1000
"""Files that are looked at in one go."""
EVERY: Final = 1.0
"""Seconds between two looks, where no signal says that there is something."""


class NoticeFiles:
    """Takes notices from a directory; removing a file tells Keyturn that it was taken.

    ``handle`` is given each file's text, such as ``Receiver.handle_message`` with what is to
    be called. What it refuses stays, and is not looked at again until it has changed.
    """

    def __init__(self, directory: str | Path, handle: Callable[[bytes], int]) -> None:
        self._directory = Path(directory)
        self._handle = handle
        # Its put may be called from a signal's handler, whatever that has interrupted; an event's set may not.
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._over = False
        self._refused: dict[str, int] = {}

    def read_once(self) -> int:
        """Take what is there; how many were. Raises OSError where the directory can't be read."""
        names = sorted(name for name in os.listdir(self._directory) if name.endswith(SUFFIX) and name[0] != ".")
        self._refused = {name: stamp for name, stamp in self._refused.items() if name in names}
        return sum(self._take(name) for name in names[:AT_ONCE])

    def run(self) -> None:
        """Take notices until :meth:`stop`. What goes wrong is logged, and tried again."""
        while not self._over:
            try:
                self.read_once()
            except OSError as error:
                log.warning("%s can't be read: %s", self._directory, error.strerror)
            except Exception as error:  # noqa: BLE001 - whatever the application raises, its next notice is read
                log.error("the application raised %s", type(error).__name__)
            with suppress(Empty):
                self._woken.get(timeout=EVERY)

    def wake(self, *_: Any) -> None:
        """Look now: for a signal's handler, or any thread."""
        self._woken.put(None)

    def stop(self) -> None:
        """End it, from any thread."""
        self._over = True
        self._woken.put(None)

    def _take(self, name: str) -> bool:
        path = self._directory / name
        try:
            text, stamp = read_regular(path)
        except OSError:
            return False  # it is gone, is no file, or is not ours to read
        if self._refused.get(name) == stamp:
            return False
        status = self._handle(text)
        if status == TAKEN:
            # One that was signed anew meanwhile is the same message, and as good as handled.
            with suppress(FileNotFoundError):
                path.unlink()
        elif status != AGAIN:
            self._refused[name] = stamp
        return status == TAKEN


def read_regular(path: Path) -> tuple[bytes, int]:
    """A file's content, up to what a receiver takes, and when it was written. Raises OSError for what is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("no regular file")
        return file.read(BODY_LIMIT + 1), status.st_mtime_ns
