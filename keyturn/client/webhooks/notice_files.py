"""Notices as files in a directory of this machine, each removed after it is handled.

notices = NoticeFiles("/run/trainer/notices", lambda text: receiver.handle_message(text, client.told))
signal.signal(signal.SIGHUP, notices.wake)
threading.Thread(target=notices.run, daemon=True).start()
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from keyturn.client.webhooks.receiver import BODY_LIMIT
from keyturn.core.files import open_regular
from keyturn.core.notifications.messages import AGAIN, TAKEN

log = logging.getLogger(__name__)

SUFFIX: Final = ".json"
AT_ONCE: Final = 1000
"""Files in one pass."""
EVERY: Final = 1.0
"""Seconds between two passes without a signal."""


class NoticeFiles:
    """Takes notices from a directory; a removed file shows Keyturn that it was taken.

    ``handle`` receives each file's text. A refused file stays, and is ignored until it changes.
    """

    def __init__(self, directory: str | Path, handle: Callable[[bytes], int]) -> None:
        self._directory = Path(directory)
        self._handle = handle
        # A queue's put is safe in a signal handler; an event's set is not.
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._over = False
        self._refused: dict[str, int] = {}

    def read_once(self) -> int:
        """Handle the existing files; how many were taken. Raises OSError for an unreadable directory."""
        names = sorted(name for name in os.listdir(self._directory) if name.endswith(SUFFIX) and name[0] != ".")
        self._refused = {name: stamp for name, stamp in self._refused.items() if name in names}
        return sum(self._take(name) for name in names[:AT_ONCE])

    def run(self) -> None:
        """Take notices until :meth:`stop`. Failures are logged and tried again."""
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
        """Start a pass now; safe in a signal handler and in any thread."""
        self._woken.put(None)

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._over = True
        self._woken.put(None)

    def _take(self, name: str) -> bool:
        path = self._directory / name
        try:
            text, stamp = read_regular(path)
        except OSError:
            return False  # it is gone, not a file, or not readable
        if self._refused.get(name) == stamp:
            return False
        status = self._handle(text)
        if status == TAKEN:
            # A file signed again meanwhile is the same message, so it counts as handled.
            with suppress(FileNotFoundError):
                path.unlink()
        elif status != AGAIN:
            self._refused[name] = stamp
        return status == TAKEN


def read_regular(path: Path) -> tuple[bytes, int]:
    """A file's content, up to the receiver's limit, and its time. Raises OSError."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(BODY_LIMIT + 1), os.fstat(file.fileno()).st_mtime_ns
