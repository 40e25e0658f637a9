"""The watches on new versions of secrets."""

import logging
import threading
from collections.abc import Callable

from keyturn.client.secrets import Secret

log = logging.getLogger(__name__)

Callback = Callable[[Secret], object]


class Watches:
    """Callbacks by path. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[str, list[Callback]] = {}
        self._seen: dict[str, tuple[str, str]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._callbacks

    def paths(self) -> list[str]:
        """The watched secrets."""
        with self._lock:
            return [*self._callbacks]

    def add(self, secret: Secret, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` for each later version, until the returned function is called."""
        with self._lock:
            self._callbacks.setdefault(secret.path, []).append(callback)
            self._seen.setdefault(secret.path, version_of(secret))
        return lambda: self._remove(secret.path, callback)

    def saw(self, secret: Secret) -> None:
        """Call the watches, once for each version. Exceptions are logged by class only."""
        with self._lock:
            callbacks = [*self._callbacks.get(secret.path, ())]
            if not callbacks or self._seen.get(secret.path) == version_of(secret):
                return
            self._seen[secret.path] = version_of(secret)
        for callback in callbacks:
            try:
                callback(secret)
            except Exception as error:  # noqa: BLE001 - whatever it raises, its text may hold the value
                log.error("%s: the function that watches it raised %s", secret.path, type(error).__name__)

    def _remove(self, path: str, callback: Callback) -> None:
        with self._lock:
            left = [each for each in self._callbacks.get(path, ()) if each is not callback]
            if left:
                self._callbacks[path] = left
            else:
                self._callbacks.pop(path, None)
                self._seen.pop(path, None)


def version_of(secret: Secret) -> tuple[str, str]:
    """The version's identity: the hub's number, or the source's own mark."""
    return ("", str(secret.version)) if secret.version is not None else (secret.source, secret.revision)
