"""Receive lines of the socket audit device of OpenBao or Vault, and store them on disk.

Without confirmation, lines in transit are lost when this process ends. So the time without a listener is reported.
"""

import contextlib
import os
import pwd
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keyturn.access_log.hub_reads import HubReads
from keyturn.access_log.sources.line_spool import LineSpool, SpoolTurn
from keyturn.access_log.sources.spool_source import SpoolSource
from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.core.ports.access_source import Batch, SourceOpening

CONNECTIONS: Final = 32
"""The most concurrent connections. The hub briefly has two."""
CHUNK: Final = 1024 * 1024
LONGEST: Final = 64 * 1024 * 1024
"""Bytes of one line."""
CREDENTIALS: Final = struct.Struct("3i")
LONG_ENOUGH: Final = 1.0
"""Seconds without a listener after which that is reported."""
REST: Final = 1.0
"""Seconds after a failed accept, as with too many open files."""
SOCKET: Final = "audit.sock"


class HubSocket(SpoolSource):
    """Listens from its first :meth:`read`, at a TCP port or Unix socket."""

    def __init__(
        self,
        opening: SourceOpening,
        *,
        listen: str | None = None,
        directory: str | None = None,
        users: Collection[str] = (),
    ) -> None:
        self._lines = LineSpool(Path(opening.directory))
        super().__init__(opening, self._lines, HubReads(opening.mount, logins=True))
        self._listen = listen
        self._directory = Path(directory).expanduser() if directory else None
        self._users = users
        self._receiver: Receiver | None = None

    def read(self, cursor: str | None, limit: int) -> Batch:
        """Return what follows ``cursor``. Raises Unavailable."""
        if self._receiver is None:
            self._receiver = Receiver(self._bound(), self._lines, allowed_users(self._users))
        return super().read(cursor, limit)

    @property
    def trouble(self) -> str:
        """Why it currently can't receive lines, otherwise empty."""
        return self._receiver.trouble if self._receiver else ""

    def close(self) -> None:
        """Stop listening, once received lines are on disk."""
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
        super().close()

    def _bound(self) -> socket.socket:
        place = self._listen or str(self._directory)
        try:
            return listener_at(self._listen) if self._listen else listener_in(self._directory or Path())
        except OSError as error:
            hint = "Choose a port or a directory that nothing else listens at, and that this user may use"
            raise Unavailable("listen", place, error.strerror or type(error).__name__, hint) from None


def listener_at(place: str) -> socket.socket:
    """Return a listener at a local ``ADDRESS:PORT``. Raises OSError."""
    address, _, port = place.rpartition(":")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address.strip("[]"), int(port)), family=family)


def listener_in(directory: Path) -> socket.socket:
    """Return a listener at a Unix socket, and replace an abandoned one. Peers are checked later. Raises OSError."""
    path = directory / SOCKET
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        return asking.connect_ex(str(path)) == 0


def allowed_users(names: Collection[str]) -> frozenset[int]:
    """The ids of local users who may send lines: these, root and the current one.

    Raises Unavailable for unknown names.
    """
    try:
        return frozenset({0, os.getuid(), *(pwd.getpwnam(name).pw_uid for name in names)})
    except KeyError:
        hint = "Name users of this machine, such as the one that the hub runs as"
        raise Unavailable("listen", "for the hub", "a user that may send lines is none of this machine", hint) from None


class Receiver:
    """Writes received lines to a spool, with a thread per connection."""

    def __init__(self, listener: socket.socket, spool: LineSpool, users: frozenset[int]) -> None:
        self.trouble = ""
        self._listener = listener
        self._spool = spool
        self._users = users
        self._places = threading.Semaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._woken, self._wake = socket.socketpair()
        self._listener.setblocking(False)
        self._missed_since = self._last_taken()
        if self._missed_since is not None:
            self._put([])
        self._thread = threading.Thread(target=self._listen, name="keyturn-audit-socket", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections, once their lines are received."""
        self._wake.close()
        self._thread.join()
        for connection, thread in list(self._open.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
            thread.join()
        self._listener.close()
        self._woken.close()

    def _last_taken(self) -> datetime | None:
        """When this spool was last written."""
        with contextlib.suppress(FileNotFoundError):
            status = self._spool.current.stat()
            return datetime.fromtimestamp(status.st_mtime, UTC) if status.st_size else None
        return None

    def _listen(self) -> None:
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        waiting.register(self._woken, select.POLLIN)
        while waiting.poll():
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                # Woken to end. Earlier connections are accepted by now.
                return
            except OSError as error:
                self.trouble = f"a connection could not be taken: {error.strerror}"
                time.sleep(REST)
                continue
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        if not self._may_send(connection):
            self.trouble = "a user who may not send lines connected: add the hub's user to users"
            connection.close()
        elif not self._places.acquire(blocking=False):
            connection.close()
        else:
            thread = threading.Thread(target=self._receive, args=(connection,), name="keyturn-audit-lines", daemon=True)
            self._open[connection] = thread
            thread.start()

    def _may_send(self, connection: socket.socket) -> bool:
        if connection.family != socket.AF_UNIX:
            return True
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return CREDENTIALS.unpack(credentials)[1] in self._users

    def _receive(self, connection: socket.socket) -> None:
        partial = b""
        try:
            while chunk := connection.recv(CHUNK):
                *lines, partial = (partial + chunk).split(b"\n") if b"\n" in chunk else (partial + chunk,)
                if len(partial) > LONGEST:
                    break
                if not self._take(lines):
                    return
        except OSError:
            return
        finally:
            if partial:
                self._take([partial])
            connection.close()
            self._open.pop(connection, None)
            self._places.release()

    def _take(self, lines: list[bytes]) -> bool:
        """Write lines to disk. On failure the connection ends."""
        return self._put(lines) if lines else True

    def _put(self, lines: list[bytes]) -> bool:
        with self._lock:
            try:
                with self._spool.turn() as turn:
                    self._mark_missing(turn)
                    turn.append(lines)
            except KeyturnError as error:
                self._missed_since = self._missed_since or datetime.now(UTC)
                self.trouble = str(error)
                return False
            self.trouble = ""
            return True

    def _mark_missing(self, turn: SpoolTurn) -> None:
        since, until = self._missed_since, datetime.now(UTC)
        if since is not None and (until - since).total_seconds() > LONG_ENOUGH:
            turn.mark(since, until)
        self._missed_since = None
