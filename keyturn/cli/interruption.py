"""Interruption by Ctrl-C, SIGTERM and SIGHUP: report what continues, and wake the keeper."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from keyturn.cli.failures import SignalReceived
from keyturn.cli.output import note_error

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def continues_later(rest: str, wake: Callable[[], None] | None = None) -> Iterator[None]:
    """On an early signal, report what happens to the ``rest`` and call ``wake``, which wakes the keeper."""
    with signals_as_interrupt():
        try:
            yield
        except KeyboardInterrupt:
            with suppress(OSError):  # SIGHUP: the terminal may be gone, and the keeper is still to be woken
                note_error(f"interrupted: {rest}")
            if wake is not None:
                with suppress(OSError):
                    wake()
            raise


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Raise SignalReceived, a KeyboardInterrupt, at the first SIGTERM or SIGHUP; ignore later ones.

    Signals that are already ignored, as by nohup, or handled keep their disposition.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            raise SignalReceived(number)

    handled = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
