"""The check before each write to a hub of a pair that this hub may be written."""

import threading
import time
from collections.abc import Callable
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError, NotWritable, TerminalError, Unwitnessed
from keyturn.core.ports.failover import EPOCH, LOOK_EVERY, Epoch, read_epoch, why_not
from keyturn.core.ports.hub import State

FIRST_LOOK: Final = 3.0
"""Seconds that only the first write waits for the other hub's answer."""

HINT: Final = "See `keyturn failover status`"

REFUSED: Final = "Correct KEYTURN_PEER_*, or give the login there the right to read Keyturn's entry failover/epoch"


class Fence:
    """Checks every write of one hub by the entries of both.

    An answer is valid for :data:`LOOK_EVERY`. A thread asks the other hub, so a silent one delays nothing: its last
    answer counts. With a ``lease``, in seconds, a recent answer is required. A refused read or an untrusted certificate
    there blocks writes, unless ``strict`` is False.
    """

    def __init__(
        self,
        own: str,
        other: str,
        read_here: Callable[[], State | None],
        read_there: Callable[[], State | None],
        lease: float | None = None,
        *,
        strict: bool = True,
    ) -> None:
        self._own, self._other, self._lease = own, other, lease
        self._read_here, self._read_there, self._strict = read_here, read_there, strict
        self._here: Epoch | None = None
        self._there: Epoch | None = None
        self._looked_here = float("-inf")
        self._asked_there = float("-inf")
        self._heard_there = float("-inf")
        self._why_silent = "it was not asked yet"
        self._why_refused = ""
        self._asking: threading.Thread | None = None
        self._lock = threading.Lock()

    def insist(self, doing: str, name: str) -> None:
        """Raises NotWritable if the other hub or neither is written, Unwitnessed if that is unknown."""
        self._look(name)
        if why := why_not(self._own, self._here, self._other, self._there):
            raise NotWritable(doing, name, why, HINT)
        if self._here and (left := self._here.wait - self._here.age - (time.monotonic() - self._looked_here)) > 0:
            problem = f"it takes over in {left:.0f} seconds, once {self._other} can have nothing on its way any more"
            raise Unwitnessed(doing, name, problem, "Wait, then run it again")
        if self._strict and (refused := self._why_refused):
            problem = f"{self._other} answers, and does not say which of the two is written: {refused}"
            raise Unwitnessed(doing, name, problem, f"{REFUSED}. {HINT}")
        if self._lease is not None and time.monotonic() - self._heard_there > self._lease:
            problem = f"{self._other} has not answered for {self._lease:.0f} seconds, so it may have taken over"
            hint = (
                f"Fix the connection to it ({self._why_silent}), or take over from it: keyturn failover promote --force"
            )
            raise Unwitnessed(doing, name, problem, hint)

    def forget(self) -> None:
        with self._lock:
            self._looked_here = self._asked_there = float("-inf")

    def _look(self, name: str) -> None:
        now, every = time.monotonic(), LOOK_EVERY.total_seconds()
        first = self._asked_there == float("-inf")
        with self._lock:
            if now - self._asked_there >= every and not (self._asking and self._asking.is_alive()):
                self._asked_there = now
                self._asking = threading.Thread(target=self._ask, name="other-hub", daemon=True)
                self._asking.start()
            asking = self._asking
        if first and asking:
            asking.join(FIRST_LOOK)
        if now - self._looked_here >= every:
            try:
                self._here, self._looked_here = read_epoch(self._read_here()), now
            except ValueError as error:
                raise Invalid("read", EPOCH, str(error), f"{HINT}. {name} was not written") from None

    def _ask(self) -> None:
        """The answer counts from before the request, because the entry may change meanwhile."""
        began = time.monotonic()
        try:
            self._there, self._heard_there, self._why_refused = self._read_peer(), began, ""
        except KeyturnError as error:
            self._why_silent = error.problem
            self._why_refused = error.problem if isinstance(error, TerminalError) else ""
        except Exception as error:  # noqa: BLE001  its text could hold anything, and a thread has no caller
            self._why_silent = f"unexpected {type(error).__name__}"

    def _read_peer(self) -> Epoch | None:
        state = self._read_there()
        try:
            return read_epoch(state)
        except ValueError as error:
            raise Invalid("read", f"{EPOCH} of {self._other}", str(error), HINT) from None
