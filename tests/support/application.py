"""An application that reads CURRENT and logs in with it, over and over, while something happens to the secret."""

import threading
from collections.abc import Callable

import psycopg2

from keyturn.core.errors import Unavailable
from keyturn.core.ports.hub import Hub, HubSecret
from keyturn.core.sensitive import SecretFields

PAUSE = 0.005
"""Seconds between two logins; without it the applications would take the machine for themselves."""


class Application:
    """Runs in a thread while it is entered. ``failures`` are versions that were CURRENT and were refused."""

    pause = PAUSE

    def __init__(self, hub: Hub, path: str, works: Callable[[SecretFields], bool]) -> None:
        self._hub = hub
        self._path = path
        self._works = works
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failures: list[int] = []
        self.logins = 0
        self.error: Exception | None = None

    def __enter__(self) -> "Application":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.wait(self.pause):
                self._log_in(self._read())
        except Exception as error:  # noqa: BLE001 - a thread has no other way to tell
            self.error = error

    def _log_in(self, current: HubSecret) -> None:
        """A refusal counts when the version is still CURRENT: one that moved on meanwhile is read again."""
        if self._works(current.fields):
            self.logins += 1
        elif self._read().version == current.version:
            self.failures.append(current.version)

    def _read(self) -> HubSecret:
        found = self._hub.read(self._path)
        assert found is not None
        return found


class Patient(Application):
    """An application that outlives outages: it goes on with what it read last, and asks again when nobody answers.

    ``outages`` counts what was not answered; only a refusal is a failure.
    """

    def __init__(self, hub: Hub, path: str, works: Callable[[SecretFields], bool]) -> None:
        super().__init__(hub, path, works)
        self._last = super()._read()
        self.outages = 0

    def _log_in(self, current: HubSecret) -> None:
        try:
            super()._log_in(current)
        except psycopg2.OperationalError:
            self.outages += 1

    def _read(self) -> HubSecret:
        try:
            self._last = super()._read()
        except Unavailable:
            self.outages += 1
        return self._last
