"""The keys that an application accepts, read from the hub: while one is being replaced there are two.

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
"""Seconds for which what was read is used: whoever sends nonsense makes no more reads than that."""


class HubKeys:
    """Called for the keys accepted now; one instance serves many threads. ``path`` is that of Keyturn's own mount.

    Where the hub does not answer, the keys that it told last are accepted on; raises KeyturnError where it has told
    none yet.
    """

    def __init__(self, hub: StatePort, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Sequence[Sensitive] = ()
        self._read_at = 0.0

    def __call__(self) -> Sequence[Sensitive]:
        """The keys; read anew every ten seconds at most."""
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
            raise NotFound("read", self._path, "there is no webhook key", "Let whoever runs Keyturn write one there")
        return WebhookKeys.from_data(self._path, state.data).all
