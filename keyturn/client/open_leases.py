"""What of this process has to be given back: at its end, and where somebody ends it by SIGTERM.

A process that is told to end goes on to do just that, once its leases are given back or the time for that is over.
A handler of the program's own is left alone: that program ends by itself, and its end is then an ordinary one.
"""

import atexit
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any, Final, Protocol

PATIENCE: Final = 10.0
"""Seconds that giving back may take, of all leases together."""
UNHEARD: Final = 2.0
"""Seconds after which a main thread that hears no signal, busy in a library's C, is not waited for."""


class Lent(Protocol):
    """What is to be given back."""

    def close(self) -> None:
        """Give it back. Raises nothing; what was given back before is quiet."""


_lent: dict[int, Lent] = {}
_ending = threading.Event()


def add(lent: Lent) -> None:
    """Give this back when the process ends, unless somebody has before."""
    end_tidily()
    _lent[id(lent)] = lent


def discard(lent: Lent) -> None:
    """It was given back."""
    _lent.pop(id(lent), None)
    if not _lent:
        _leave_signals()


def end_tidily() -> None:
    """Hear of SIGTERM, where nobody else wants to and this is the main thread."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def give_back_all() -> None:
    """Give back what is left, as long as there is time."""
    until = time.monotonic() + PATIENCE
    for lent in [*_lent.values()]:
        if time.monotonic() < until:
            lent.close()


def _on_sigterm(number: int, frame: Any) -> None:
    """Another thread gives back: this one may hold a lock that it needs."""
    if _ending.is_set():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    _ending.set()
    threading.Thread(target=_give_back_and_end, name="keyturn-end", daemon=True).start()


def _give_back_and_end() -> None:
    giving = threading.Thread(target=give_back_all, name="keyturn-lease", daemon=True)
    giving.start()
    giving.join(PATIENCE)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(UNHEARD)
    os._exit(128 + signal.SIGTERM)


def _leave_signals() -> None:
    if not _ending.is_set() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        with suppress(ValueError):  # in another thread than the main one it can't be said
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _forget() -> None:
    """What a process has is not its children's."""
    _lent.clear()
    _leave_signals()


atexit.register(give_back_all)
os.register_at_fork(after_in_child=_forget)
