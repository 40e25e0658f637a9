"""The terminal shared with the program, and its foreground group."""

import os
import signal
from contextlib import suppress
from typing import Final, Self

CONTROLLING: Final = "/dev/tty"


class Terminal:
    """The controlling terminal, if any."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._group = os.getpgrp()
        with suppress(OSError):
            self._descriptor = os.open(CONTROLLING, os.O_RDWR | os.O_NOCTTY)

    @property
    def there(self) -> bool:
        return self._descriptor >= 0

    @property
    def in_front(self) -> bool:
        return self.held_by(self._group)

    def held_by(self, group: int) -> bool:
        """Whether a group is in the foreground, even if its processes have ended."""
        with suppress(OSError):
            return self._descriptor >= 0 and os.tcgetpgrp(self._descriptor) == group
        return False

    def give_to(self, group: int) -> None:
        """Put a group in the foreground; an ended group is no error."""
        if self._descriptor < 0:
            return
        # Otherwise a background process that sets the foreground group would be stopped.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            with suppress(OSError):
                os.tcsetpgrp(self._descriptor, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def take_back(self) -> None:
        self.give_to(self._group)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
