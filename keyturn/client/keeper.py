"""A client's background work: drop expired secrets, read due ones, ask for new versions."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from keyturn.core.errors import KeyturnError

log = logging.getLogger(__name__)

THREADS: Final = 4
"""Concurrent background reads."""
LONGEST_SLEEP: Final = 1.0
"""Seconds; bounds the delay after a suspension, which waits don't count."""


class Keeper:
    """A thread that starts on first use, and ends with the process or with :meth:`stop`.

    ``tend`` returns the instant of its next call. An exception of ``read`` is logged.
    """

    def __init__(
        self,
        tend: Callable[[], float | None],
        read: Callable[[str], object],
        poll: Callable[[], object],
        every: float,
        clock: Callable[[], float],
    ) -> None:
        self._tend = tend
        self._read = read
        self._poll = poll
        self._every = every
        self._clock = clock
        self._changed = threading.Condition()
        self._under_way: set[str] = set()
        self._woken = False
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None

    def wake(self) -> None:
        """Call ``tend`` earlier, and start the thread if necessary."""
        with self._changed:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="keyturn-client", daemon=True)
                self._thread.start()
            self._woken = True
            self._changed.notify()

    def renew(self, path: str) -> None:
        """Read a secret in another thread, unless that is in progress."""
        with self._changed:
            if self._stopped or path in self._under_way:
                return
            self._under_way.add(path)
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, "keyturn-client")
            self._pool.submit(self._renew, path)

    def later(self, call: Callable[[], object]) -> None:
        """Call ``call`` in another thread, unless this was stopped."""
        with self._changed:
            if not self._stopped:
                self._pool = self._pool or ThreadPoolExecutor(THREADS, "keyturn-client")
                self._pool.submit(call)

    def stop(self) -> None:
        """End the thread after its current work."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
            thread, pool = self._thread, self._pool
        if thread:
            thread.join()
        if pool:
            pool.shutdown(cancel_futures=True)

    def _renew(self, path: str) -> None:
        try:
            self._read(path)
        except KeyturnError as error:
            log.warning("%s", error)
        except Exception as error:  # noqa: BLE001 - an SDK's text may hold anything
            log.error("%s could not be read again: %s", path, type(error).__name__)
        finally:
            with self._changed:
                self._under_way.discard(path)

    def _run(self) -> None:
        polled_at = self._clock()
        while not self._stopped:
            at = self._tend()
            if self._every and self._clock() - polled_at >= self._every:
                self._asked()
                polled_at = self._clock()
            self._sleep(min(at or float("inf"), polled_at + self._every if self._every else float("inf")))

    def _asked(self) -> None:
        try:
            self._poll()
        except KeyturnError as error:
            log.warning("%s", error)
        except Exception as error:  # noqa: BLE001 - an SDK's text may hold anything
            log.error("versions could not be asked for: %s", type(error).__name__)

    def _sleep(self, until: float) -> None:
        with self._changed:
            if not self._woken and not self._stopped:
                waiting = until < float("inf")
                self._changed.wait(max(0.0, min(until - self._clock(), LONGEST_SLEEP)) if waiting else None)
            self._woken = False
