"""Concurrent questions to the host's other processes."""

import errno
import logging
import socket
import time
from dataclasses import dataclass
from typing import Final

from keyturn.client.host.directory import Directory
from keyturn.client.host.wire import Gone, Message, Stuck, peer_of, receive, send, wait_at_most
from keyturn.core.errors import Unavailable

log = logging.getLogger(__name__)

AT_HAND: Final = 0.02
"""Seconds to read an answer that has arrived, after the deadline."""
SHOWN: Final = 5
"""The limit of processes named in an error."""


@dataclass(frozen=True)
class Call:
    """A pending question to the process at ``name``, with its ``pid``."""

    name: str
    pid: int
    connection: socket.socket


def call(directory: Directory, name: str, message: Message, patience: float) -> Call | None:
    """Ask; None, without its socket, for an ended process. Raises Stuck and OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        wait_at_most(connection, patience)
        connection.connect(directory.address(name))
        pid, same_user = peer_of(connection)
        if not same_user:
            raise ConnectionRefusedError
        send(connection, message)
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        directory.remove(name)
        return None
    except BlockingIOError:
        connection.close()
        raise Stuck from None
    except BaseException:
        connection.close()
        raise
    return Call(name, pid, connection)


def answer_to(pending: Call, deadline: float) -> Message:
    """The answer. Raises Stuck, Gone and ValueError."""
    try:
        wait_at_most(pending.connection, max(0.001, deadline - time.monotonic()))
        return receive(pending.connection, deadline)
    finally:
        pending.connection.close()


class Round:
    """One message to all processes of a group except ``own``.

    Only a living process that does not answer is an obstacle.
    """

    def __init__(self, directory: Directory, own: str, message: Message, patience: float) -> None:
        self._directory = directory
        self._message = message
        self._patience = patience
        self._obstacles: list[str] = []
        self._calls: list[Call] = []
        self._names = {own}
        self.ask()

    def ask(self) -> None:
        """Ask all processes not asked before, with ``patience`` seconds from now."""
        self._deadline = time.monotonic() + self._patience
        names = [name for name in self._directory.members() if name not in self._names]
        self._names.update(names)
        self._calls += [pending for name in names if (pending := self._call(name))]

    def wait(self) -> None:
        """Wait for every answer. Raises Unavailable where a living process has not done it."""
        for pending in self._calls:
            self._settle(pending)
        if self._obstacles:
            shown = "; ".join(self._obstacles[:SHOWN]) + ("; ..." if len(self._obstacles) > SHOWN else "")
            problem = f"{len(self._obstacles)} of its processes did not take the notice ({shown})"
            hint = "See whether they are suspended; one that is ended is no obstacle"
            raise Unavailable("tell", str(self._directory.place), problem, hint)

    def close(self) -> None:
        """Close all connections without waiting."""
        for pending in self._calls:
            pending.connection.close()

    def _call(self, name: str) -> Call | None:
        try:
            return call(self._directory, name, self._message, max(0.001, self._deadline - time.monotonic()))
        except Stuck:
            self._obstacles.append(f"{name} is not listening")
        except Gone:
            self._again(name)
        except OSError as error:
            self._obstacles.append(f"{name}: {errno.errorcode.get(error.errno or 0, 'failed')}")
        return None

    def _settle(self, pending: Call) -> None:
        process = f"process {pending.pid}" if pending.pid else pending.name
        try:
            answer = answer_to(pending, max(self._deadline, time.monotonic() + AT_HAND))
        except Stuck:
            self._obstacles.append(f"{process} did not answer")
        except Gone:
            self._again(pending.name)
        except (ValueError, RecursionError):
            self._obstacles.append(f"{process} answered something else")
        else:
            if answer.get("done") is not True:
                self._obstacles.append(f"{process}: {answer.get('problem', 'no reason given')}")

    def _again(self, name: str) -> None:
        """Record an obstacle, unless the process has ended."""
        try:
            living = call(self._directory, name, {}, max(0.001, self._deadline - time.monotonic()))
        except (Stuck, Gone, OSError):
            living = None
            self._obstacles.append(f"{name} hung up")
        if living:
            living.connection.close()
            self._obstacles.append(f"{name} hung up")
