"""A process in its host's group, which shares notices and reads."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from keyturn.client.host.calls import Round, answer_to, call
from keyturn.client.host.seat import Seat
from keyturn.client.host.wire import (
    Gone,
    Message,
    Stuck,
    notice_data,
    notice_of,
    peer_of,
    receive,
    send,
    wait_at_most,
)
from keyturn.client.peers import Local
from keyturn.client.secrets import Secret, secret_data, secret_of
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.notifications.notices import Notice

log = logging.getLogger(__name__)

HANDLERS: Final = 256
"""Questions that are answered concurrently."""
YOUNG: Final = 2.5
"""The age of a directory in checks, within which members of a removed one join it."""
TAKE_PATIENCE: Final = 2.0
"""Seconds to wait for the process that reads for all, before reading without it during ``REST``."""
PAUSE: Final = 0.05
"""Seconds before the next attempt to accept a connection after a failure."""
REST: Final = 10.0
"""Seconds for which it is not asked again."""


class Member:
    """One process of the group in ``place``; it joins on first use. Thread-safe."""

    def __init__(self, place: Path, patience: float, check: float) -> None:
        self._place = place
        self._patience = patience
        self._check = check
        self._local: Local
        self._lock = threading.Lock()
        self._seat: Seat | None = None
        self._thread: threading.Thread | None = None
        self._left = False
        self._handlers = threading.BoundedSemaphore(HANDLERS)
        self._connections: set[socket.socket] = set()
        self._rests_until = 0.0

    def serve(self, local: Local) -> None:
        """See :meth:`Peers.serve`."""
        self._local = local

    def join(self) -> None:
        """See :meth:`Peers.join`. Raises KeyturnError."""
        if self._seat is None:
            self._joined()

    @contextlib.contextmanager
    def tell(self, notice: Notice, floor_ttl: float) -> Iterator[Callable[[], object]]:
        """Pass a notice on to all living processes; the yielded function waits until each has taken it. Both raise
        KeyturnError.

        It is written down before the last search for processes. A starting process becomes visible before it reads, so
        each receives it.
        """
        message = {"ask": "hear", "notice": notice_data((notice, floor_ttl))}
        with contextlib.ExitStack() as rounds:
            seat, calls = self._ask_all(message, rounds)
            seat.directory.promise([(notice, floor_ttl)])
            time.sleep(max(0.0, YOUNG * self._check - seat.directory.age()))
            calls.ask()
            yield calls.wait

    def take(self, wanted: Mapping[str, datetime]) -> Mapping[str, Secret]:
        """See :meth:`Peers.take`; empty where this process reads for all."""
        seat = self._seat
        if seat is None or time.monotonic() < self._rests_until:
            return {}
        notices = [notice_data(promised) for path in wanted for promised in self._local.promised([path])]
        message = {"ask": "give", "wanted": {path: at.isoformat() for path, at in wanted.items()}, "notices": notices}
        try:
            return self._taken(seat, message)
        except (Stuck, Gone, OSError, KeyturnError, ValueError, KeyError, TypeError) as error:
            log.warning("%s: the process that reads for all did not answer: %s", self._place, type(error).__name__)
            self._rests_until = time.monotonic() + REST
            return {}

    def leave(self) -> None:
        """See :meth:`Peers.leave`."""
        with self._lock:
            self._left, seat, thread = True, self._seat, self._thread
            self._seat = None
        if seat:
            seat.give_up()
        if thread and thread is not threading.current_thread():
            thread.join()

    def abandon(self) -> None:
        """Close what a fork inherited, but keep the parent's files."""
        for connection in [*self._connections]:
            connection.close()
        if self._seat:
            self._seat.let_go()

    def _ask_all(self, message: Message, rounds: contextlib.ExitStack) -> tuple[Seat, Round]:
        """Ask the known processes first, so that checking the seat does not delay them."""
        seat = self._joined()
        calls = rounds.enter_context(contextlib.closing(Round(seat.directory, seat.name, message, self._patience)))
        if seat.stands:
            return seat, calls
        seat = self._standing()
        return seat, rounds.enter_context(contextlib.closing(Round(seat.directory, seat.name, message, self._patience)))

    def _joined(self) -> Seat:
        with self._lock:
            if self._left:
                raise Invalid("join", str(self._place), "the client was closed", "Make another one")
            if self._seat is None:
                self._seat = self._sit()
            return self._seat

    def _sit(self) -> Seat:
        """Take a visible seat, then exchange earlier notices."""
        seat = Seat(self._place, self._patience, self._check)
        self._thread = threading.Thread(target=self._listen, args=(seat,), name="keyturn-host", daemon=True)
        self._thread.start()
        try:
            for notice, remaining in seat.directory.promised():
                self._local.promise(notice, remaining)
            if mine := self._local.promised([]):
                seat.directory.promise(mine)
        except BaseException:
            seat.give_up()
            raise
        return seat

    def _standing(self) -> Seat:
        """A seat that others find; a new one where the directory was removed."""
        seat = self._joined()
        if not seat.stands:
            with self._lock:
                if self._seat is seat:
                    self._seat = self._sit()
            seat.give_up()
        return self._joined()

    def _taken(self, seat: Seat, message: Message) -> Mapping[str, Secret]:
        """Ask the process that reads for all. Raises Gone without one."""
        name = seat.leader()
        while name != seat.name:
            with contextlib.suppress(Gone):
                if pending := call(seat.directory, name, message, TAKE_PATIENCE):
                    answer = answer_to(pending, time.monotonic() + TAKE_PATIENCE)
                    secrets = [secret_of(data) for data in answer.get("secrets", ())]
                    return {secret.path: secret for secret in secrets if secret.path in message["wanted"]}
            name = seat.leader(gone=name)
        return {}

    def _listen(self, seat: Seat) -> None:
        looked_at = time.monotonic()
        while not self._left:
            try:
                connection = seat.accept()
            except OSError:
                if seat.given_up:
                    return
                connection = None
                time.sleep(PAUSE)  # no file descriptor is free
            if connection:
                self._begin_to_answer(connection)
            if time.monotonic() - looked_at >= self._check / 2:
                if not seat.stands:
                    self._move()
                    return
                looked_at = time.monotonic()

    def _begin_to_answer(self, connection: socket.socket) -> None:
        self._handlers.acquire()
        self._connections.add(connection)
        try:
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()
        except RuntimeError:  # no more threads are possible
            self._handle(connection)

    def _move(self) -> None:
        """Join the directory that replaced a removed one."""
        problem = ""
        while not self._left:
            try:
                self._standing()
                return
            except KeyturnError as error:
                if str(error) != problem:
                    problem = str(error)
                    log.error("%s", problem)
                time.sleep(self._check)

    def _handle(self, connection: socket.socket) -> None:
        try:
            wait_at_most(connection, self._patience)
            if peer_of(connection)[1]:
                self._answer(connection, receive(connection, time.monotonic() + self._patience))
        except (Stuck, Gone, ValueError, RecursionError):
            log.debug("a question of another process did not arrive whole")
        finally:
            self._connections.discard(connection)
            connection.close()
            self._handlers.release()

    def _answer(self, connection: socket.socket, message: Message) -> None:
        match message.get("ask"):
            case "hear":
                send(connection, self._heard(message))
            case "give":
                shared = self._given(message)
                send(connection, {"secrets": [secret_data(secret) for secret in shared.values()]})
                for secret in shared.values():
                    self._local.saw(secret)
            case _:
                send(connection, {"problem": "it does not know what it was asked"})

    def _heard(self, message: Message) -> Message:
        try:
            self._local.heard(notice_of(message["notice"])[0])
        except KeyturnError as error:
            return {"problem": str(error)}
        except Exception as error:  # noqa: BLE001 - an SDK's text may hold anything
            return {"problem": type(error).__name__}
        return {"done": True}

    def _given(self, message: Message) -> Mapping[str, Secret]:
        with contextlib.suppress(Exception):  # the asking process then reads for itself, and gets the error
            wanted = {path: datetime.fromisoformat(at) for path, at in message["wanted"].items()}
            return self._local.give(wanted, [notice_of(data) for data in message["notices"]])
        return {}
