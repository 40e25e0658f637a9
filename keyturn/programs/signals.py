"""This process's signals in order, and a way to wake the main thread."""

import os
import select
import signal
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
FOR_ALL: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Those for the program's whole group, as from a terminal."""
TYPED: Final = frozenset({signal.SIGINT, signal.SIGQUIT})
"""Those that a terminal sends to its foreground group."""
HEARD: Final = (*FORWARDED, signal.SIGCHLD, signal.SIGCONT)


class Signals:
    """Within a ``with`` block of the main thread, signals are only reported by :meth:`wait`.

    Ignored signals, as by ``nohup``, stay ignored.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[int, Any] = {}
        self._woken_before = -1

    def wait(self, seconds: float) -> Sequence[int]:
        """The signals within this time; none after :meth:`wake`."""
        select.select([self._reader], [], [], max(0.0, seconds))
        with suppress(BlockingIOError):
            return [number for number in os.read(self._reader, 4096) if number]
        return []

    def wake(self) -> None:
        """Wake :meth:`wait`, from any thread."""
        with suppress(BlockingIOError, OSError):
            os.write(self._writer, b"\0")

    def __enter__(self) -> Self:
        self._woken_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in HEARD:
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, nothing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken_before)
        os.close(self._reader)
        writer, self._writer = self._writer, -1
        os.close(writer)


def nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal without an action."""
