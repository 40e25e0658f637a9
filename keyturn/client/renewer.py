"""Another secret than the one whose login was refused, for whatever pool asks."""

import threading
import time
from typing import Final

from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret

PAUSE: Final = 0.5
"""Seconds for which a secret whose login was refused is not read anew again."""


class Renewer:
    """Reads the secret at ``path`` anew where its login is refused, however many threads find out at once."""

    def __init__(self, client: SecretClient, path: str) -> None:
        self._client = client
        self._path = path
        self._lock = threading.Lock()
        self._read_at = -PAUSE

    def other_than(self, refused: Secret) -> Secret | None:
        """What to log in with instead; None where there is nothing else, or it was read anew a moment ago.

        Raises what the client does where the secret is gone or can't be read.
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
