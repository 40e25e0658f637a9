"""Notify a program on this machine: a file in a directory that it takes notices from, and a signal."""

import errno
import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.notifications.messages import SignedMessage
from keyturn.providers.deliver_notices import DOING
from keyturn.providers.host.signals import send_signal

SUFFIX: Final = ".json"
MODE: Final = 0o640
"""The directory's group may read a notice: the program is another user."""
MOST: Final = 1000
PAUSE: Final = 0.05  # seconds
DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class HostProcess:
    """:class:`keyturn.core.ports.consumers.NoticeSender` to a program of this machine.

    With a ``directory``, the program acknowledges a notice by removing its file; the next try rewrites a remaining one.
    With a ``pid_file``, it gets the signal of that name then.
    """

    def __init__(
        self, name: str, *, directory: str | None = None, pid_file: str | None = None, signal: str = "HUP"
    ) -> None:
        self.name = name
        self._directory = directory
        self._pid_file = pid_file
        self._signal = signal

    def send(self, message: SignedMessage, timeout: float) -> None:
        until = time.monotonic() + timeout
        if self._directory is not None:
            self._lay(message)
        if self._pid_file is not None:
            send_signal(self.name, self._pid_file, signal.Signals[f"SIG{self._signal}"])
        while self._directory is not None and self._waits(message):
            if time.monotonic() >= until:
                hint = "See whether the program runs; it removes the file once it uses the new credential"
                raise Unavailable(DOING, self.name, f"it has not taken its notice within {timeout:g} s", hint)
            time.sleep(PAUSE)

    def close(self) -> None:
        """There is nothing to close."""

    def _lay(self, message: SignedMessage) -> None:
        file = self._file(message)
        draft = f".{file}.new"
        with self._opened() as directory:
            if len([name for name in os.listdir(directory) if name.endswith(SUFFIX)]) >= MOST:
                problem = f"{MOST} notices wait in its directory"
                raise Unavailable(DOING, self.name, problem, "See why the program takes none, and remove them")
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=directory)  # left by a killed run
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE, dir_fd=directory)
            try:
                with os.fdopen(descriptor, "wb") as opened:
                    os.fchmod(descriptor, MODE)
                    opened.write(message.to_json().encode())
                    opened.flush()
                    os.fsync(descriptor)
                os.rename(draft, file, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=directory)
                raise
            os.fsync(directory)

    def _waits(self, message: SignedMessage) -> bool:
        with self._opened() as directory:
            try:
                os.stat(self._file(message), dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def _file(self, message: SignedMessage) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", message.id):
            raise Invalid(DOING, self.name, "the message's id can't be the name of a file")
        return f"{message.id}{SUFFIX}"

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            descriptor = os.open(self._directory or "", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_mode & stat.S_IWOTH:
                    hint = "Remove that right: removing a notice acknowledges it"
                    raise Denied(DOING, self.name, "everybody on this machine may write in its directory", hint)
                yield descriptor
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            hint = "Make it, for the program's group to write in: install -d -m 2770 -g GROUP DIRECTORY"
            raise NotFound(DOING, self.name, "its directory is not there", hint) from None
        except NotADirectoryError:
            raise Invalid(DOING, self.name, "its directory is none", "Correct its path") from None
        except OSError as error:
            problem = f"its directory can't be used: {error.strerror}"
            kind = Denied if error.errno in DENIED else Unavailable
            raise kind(DOING, self.name, problem, "See to its owner, its mode and its disk") from None
