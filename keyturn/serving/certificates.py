"""A server's certificate from its files, reloaded when they are renewed."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from keyturn.agent.sockets import server_tls
from keyturn.core.errors import Invalid

Stamp = tuple[tuple[int, int, int], ...]


class CertificateFiles:
    """TLS with these files, read again after a change. Raises Invalid where they are unusable at first.

    Later, unusable files are reported once, and the earlier certificate stays in use.
    """

    def __init__(self, certificate: Path, key: Path, say: Callable[[str], None]) -> None:
        self._files = certificate, key
        self._say = say
        self._stamp = self._look()
        self._context = server_tls(*self._files)

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the next connection."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = server_tls(*self._files)
            except Invalid as error:
                self._say(f"error: {error}; the certificate before is used on")
        return self._context

    def _look(self) -> Stamp:
        with suppress(OSError):
            stats = [file.stat() for file in self._files]
            return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
        return ()
