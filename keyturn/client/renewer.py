"""Finds a different secret after a refused login, for any pool."""

import threading
import time
from typing import Final

from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret

PAUSE: Final = 0.5
"""Seconds before a secret with a refused login is read again."""


class Renewer:
    """Reads a secret again after a refused login, once for concurrent threads."""

    def __init__(self, client: SecretClient, path: str) -> None:
        self._client = client
        self._path = path
        self._lock = threading.Lock()
        self._read_at = -PAUSE

    def other_than(self, refused: Secret) -> Secret | None:
        """A different secret; None without one, or within ``PAUSE`` of the last read.

        Raises the client's errors.
        """
        current = self._client.kept(self._path)
        if current and current.fields != refused.fields:
            return current
        with self._lock:
            if time.monotonic() - self._read_at < PAUSE:
                return None
            self._read_at = time.monotonic()
        fresh = self._client.refresh(self._path)
        return None if fresh.fields == refused.fields else fresh
