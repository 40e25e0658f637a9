"""The terminal that this process and its program share: who is in front, as a shell's job control has it."""

import os
import signal
from contextlib import suppress
from typing import Final, Self

CONTROLLING: Final = "/dev/tty"


class Terminal:
    """The controlling terminal, where there is one and this process's group is in front at the start."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._group = os.getpgrp()
        with suppress(OSError):
            self._descriptor = os.open(CONTROLLING, os.O_RDWR | os.O_NOCTTY)

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return self._descriptor >= 0

    @property
    def in_front(self) -> bool:
        """Whether what is typed comes to this process's group now."""
        return self.held_by(self._group)

    def held_by(self, group: int) -> bool:
        """Whether what is typed comes to this group, whose processes may have ended."""
        with suppress(OSError):
            return self._descriptor >= 0 and os.tcgetpgrp(self._descriptor) == group
        return False

    def give_to(self, group: int) -> None:
        """Let what is typed come to a group; one that is gone is no error."""
        if self._descriptor < 0:
            return
        # Who is not in front, and gives the terminal away, would be stopped.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            with suppress(OSError):
                os.tcsetpgrp(self._descriptor, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def take_back(self) -> None:
        """As it was at the start."""
        self.give_to(self._group)

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
