"""Somebody who has the leaked credential: tries it again and again, and holds a session open."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

from keyturn.core.errors import Invalid

PAUSE: Final = 0.02
"""Seconds between two tries."""

PATIENCE: Final = 10.0
"""Seconds in which the first try has to succeed."""


class Intruder:
    """At work from a thread for the tries, and one for the session, while it is entered.

    ``tries`` tells whether the credential is accepted, None where unknown; ``session`` whether the open session
    still answers. ``refused_at`` is when it was first refused and never accepted again.
    """

    def __init__(self, tries: Callable[[], bool | None], session: Callable[[], bool] | None) -> None:
        self._tries, self._session = tries, session
        self._stopping, self._inside = threading.Event(), threading.Event()
        self.tried = 0
        self.refused_at: datetime | None = None
        self.ended_at: datetime | None = None
        works = [self._try, *([self._hold] if session else [])]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def __enter__(self) -> "Intruder":
        for thread in self._threads:
            thread.start()
        if not self._inside.wait(PATIENCE):
            self._stop()
            problem = "the drill's own credential is not accepted before it is revoked"
            raise Invalid("drill", "the intruder", problem, "See `keyturn status`, and the logs of the local stack")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if kind is None:
            self._try_once()  # after everything: whoever was accepted again is seen

    def _stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _try(self) -> None:
        while not self._stopping.is_set():
            self._try_once()
            self._stopping.wait(PAUSE)

    def _try_once(self) -> None:
        accepted = self._tries()
        self.tried += 1
        if accepted:
            self.refused_at = None
            self._inside.set()
        elif accepted is False and self.refused_at is None:
            self.refused_at = datetime.now(UTC)

    def _hold(self) -> None:
        while not self._stopping.wait(PAUSE):
            if self._session and not self._session():
                self.ended_at = datetime.now(UTC)
                return
