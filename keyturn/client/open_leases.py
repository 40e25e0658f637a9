"""The leases of this process, revoked at its end and on SIGTERM.

After SIGTERM, the process ends once they are revoked or the time is over. A program's own handler is kept.
"""

import atexit
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any, Final, Protocol

PATIENCE: Final = 10.0
"""Seconds for revoking all leases."""
UNHEARD: Final = 2.0
"""Seconds to wait for a main thread that handles no signal while it runs C code."""
REPEATS: Final = 20
"""How often it gets the signal in that time."""


class Lent(Protocol):
    """An object to close at the end."""

    def close(self) -> None:
        """Revoke it. Raises nothing; a repeat has no effect."""


_lent: dict[int, Lent] = {}
_ending = threading.Event()


def add(lent: Lent) -> None:
    """Revoke it when the process ends, unless that has happened."""
    end_tidily()
    _lent[id(lent)] = lent


def discard(lent: Lent) -> None:
    """Forget a revoked one."""
    _lent.pop(id(lent), None)
    if not _lent:
        _leave_signals()


def end_tidily() -> None:
    """Handle SIGTERM in the main thread, unless it has a handler."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def give_back_all() -> None:
    """Revoke what is left, while time remains."""
    until = time.monotonic() + PATIENCE
    for lent in [*_lent.values()]:
        if time.monotonic() < until:
            lent.close()


def _on_sigterm(number: int, frame: Any) -> None:
    """Revoke in another thread, because this one may hold a necessary lock."""
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
    for _ in range(REPEATS):  # a main thread that is about to sleep misses one signal
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(UNHEARD / REPEATS)
    os._exit(128 + signal.SIGTERM)


def _leave_signals() -> None:
    if not _ending.is_set() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        with suppress(ValueError):  # only the main thread may set it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _forget() -> None:
    """Forget a parent's leases in a forked child."""
    _lent.clear()
    _leave_signals()


atexit.register(give_back_all)
os.register_at_fork(after_in_child=_forget)
