"""The leases of parts: one entry in the hub for each, which its holder renews and other processes watch.

No process trusts another machine's clock. A holder writes its entry every few seconds. Another process takes the lease
only after the entry did not change for :data:`LAPSE` seconds by its own clock. Every take increments the number.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any, Final

from keyturn.client.clock import elapsed
from keyturn.core.errors import Conflict
from keyturn.core.ports.hub import StatePort
from keyturn.serving.parts import UNTOLD, PartHealth, lease_ended

SERVE: Final = "serve"
"""The path of the leases in Keyturn's mount: ``serve/<part>``."""

RENEW: Final = 8.0
"""Seconds between two renewals."""
WATCH: Final = 4.0
"""Seconds between two looks at a lease that another process holds."""
LAPSE: Final = 20.0
"""Seconds without a change before another process takes a lease. A takeover takes less than 30 seconds."""

LONGEST_TROUBLE: Final = 300
"""Maximum length of the problem in a lease, in characters."""

FORMAT: Final = 1


@dataclass(frozen=True)
class LeaseState:
    """A lease as stored in the hub; ``holder`` is empty after release, ``age`` is by the hub's clock.

    ``version`` is that of the entry, 0 where there is none.
    """

    holder: str = ""
    host: str = ""
    number: int = 0
    health: PartHealth = UNTOLD
    version: int = 0
    age: float = 0.0

    @property
    def held(self) -> bool:
        """Whether a holder renewed it lately, by the hub's clock; for display only."""
        return bool(self.holder) and self.age <= LAPSE

    def to_data(self) -> dict[str, Any]:
        """Return the data for the hub."""
        lag = None if self.health.lag is None else round(self.health.lag, 1)
        entry: dict[str, Any] = {"format": FORMAT, "holder": self.holder, "host": self.host, "number": self.number}
        return entry | {"lag": lag, "trouble": self.health.trouble[:LONGEST_TROUBLE]}

    @staticmethod
    def from_data(data: Mapping[str, Any], version: int, age: float) -> "LeaseState":
        """Return the lease in this data; unreadable data counts as free."""
        try:
            lag = data.get("lag")
            health = PartHealth(None if lag is None else float(lag), str(data.get("trouble", "")))
            number = int(data["number"])
            return LeaseState(str(data["holder"]), str(data["host"]), number, health, version, age)
        except (KeyError, TypeError, ValueError):
            return LeaseState(version=version, age=age)


def load_lease(hub: StatePort, part: str) -> LeaseState:
    """Return the lease of a part, free where there is none. Raises the hub's errors."""
    state = hub.read_state(f"{SERVE}/{part}")
    return LeaseState.from_data(state.data, state.version, state.age) if state else LeaseState()


class PartLease:
    """One part's lease, for a process that wants it. Thread-safe.

    ``holder`` identifies this process, and ``host`` is its machine's name, for display.
    """

    def __init__(
        self, hub: StatePort, part: str, holder: str, host: str = "", clock: Callable[[], float] = elapsed
    ) -> None:
        self.part = part
        self._hub = hub
        self._own = LeaseState(holder, host or socket.gethostname())
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = LeaseState(version=-1)
        self._seen_at = clock()

    def take(self) -> int | None:
        """Take the lease and return its number; None while another process holds it. Raises the hub's errors."""
        with self._lock:
            state = load_lease(self._hub, self.part)
            self._watch(state)
            if self._is_held(state):
                return None
            try:
                return self._write(state.number + 1, UNTOLD, state.version)
            except Conflict:
                return None

    def renew(self, health: PartHealth = UNTOLD) -> None:
        """Renew the lease. Raises Superseded where another process holds it, and the hub's errors."""
        with self._lock:
            try:
                self._write(self._own.number, health, self._own.version)
            except Conflict:
                self._renew_over(load_lease(self._hub, self.part), health)

    def _renew_over(self, state: LeaseState, health: PartHealth) -> None:
        """Renew a lease that is still held after an answer was lost."""
        try:
            if (state.holder, state.number) == (self._own.holder, self._own.number):
                self._write(state.number, health, state.version)
                return
        except Conflict:
            pass
        raise lease_ended(self.part) from None

    def give_back(self) -> None:
        """Release the lease at once, unless another process holds it already. Raises the hub's errors."""
        free = replace(self._own, holder="", health=UNTOLD)
        with self._lock, suppress(Conflict):
            self._hub.write_state(f"{SERVE}/{self.part}", free.to_data(), cas=self._own.version)

    def _watch(self, state: LeaseState) -> None:
        if (state.version, state.holder, state.number) != (self._seen.version, self._seen.holder, self._seen.number):
            self._seen, self._seen_at = state, self._clock()

    def _is_held(self, state: LeaseState) -> bool:
        if state.holder in ("", self._own.holder):
            return False
        return self._clock() - self._seen_at < LAPSE

    def _write(self, number: int, health: PartHealth, over: int) -> int:
        wanted = replace(self._own, number=number, health=health)
        version = self._hub.write_state(f"{SERVE}/{self.part}", wanted.to_data(), cas=over)
        self._own = replace(wanted, version=version)
        return number


def new_holder() -> str:
    """Return a unique name for this process, also across hosts of the same name."""
    return f"{socket.gethostname()}/{token_hex(8)}"
