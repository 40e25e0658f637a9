"""The webhook keys that an application accepts, read from the hub.

receiver = Receiver(HubKeys(hub, "webhooks/trainer"))
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.ports.hub import StatePort
from keyturn.core.sensitive import Sensitive
from keyturn.core.webhook_keys import WebhookKeys

READ_AGAIN: Final = 10.0
"""Seconds for which the keys are cached, against reads for invalid requests."""


class HubKeys:
    """Returns the accepted keys. Thread-safe. ``path`` is in Keyturn's mount.

    Without an answer of the hub, the last keys stay valid. Raises KeyturnError where there are none.
    """

    def __init__(self, hub: StatePort, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Sequence[Sensitive] = ()
        self._read_at = 0.0

    def __call__(self) -> Sequence[Sensitive]:
        """The keys, read at most every ten seconds."""
        with self._lock:
            if not self._keys or self._clock() - self._read_at >= READ_AGAIN:
                self._read_again()
            return self._keys

    def _read_again(self) -> None:
        try:
            self._keys = self._read()
        except KeyturnError:
            if not self._keys:
                raise
        self._read_at = self._clock()

    def _read(self) -> Sequence[Sensitive]:
        state = self._hub.read_state(self._path)
        if state is None:
            raise NotFound(
                "read", self._path, "there is no webhook key", "Ask those who run Keyturn to write one there"
            )
        return WebhookKeys.from_data(self._path, state.data).all
