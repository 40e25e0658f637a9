"""Run parts concurrently, each under its lease. A failed part is retried, and delays no other."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from keyturn.client.clock import elapsed
from keyturn.core.errors import KeyturnError, Superseded, unexpected
from keyturn.serving.leases import LAPSE, RENEW, WATCH, PartLease
from keyturn.serving.parts import UNTOLD, Part, PartHealth, Tenure
from keyturn.sync.follow import wait_after
from keyturn.sync.lines import one_line

T = TypeVar("T")

TICK: Final = 0.5
"""Seconds between two checks whether a lease has lapsed, while a renewal hangs."""

WELL: Final = 60.0
"""Seconds of work after which a failure counts as the first again."""

GRACE: Final = 20.0
"""Seconds that parts have to end."""

Say = Callable[[str], None]
OpenLease = Callable[[str], PartLease]


@dataclass(frozen=True)
class PartState:
    """The state of a part in this process; ``failures`` counts consecutive failures.

    ``looked`` means that the hub reported the holder lately, ``elsewhere`` that another process is the holder.
    """

    part: str
    running: bool = False
    number: int = 0
    failures: int = 0
    health: PartHealth = UNTOLD
    looked: bool = False
    elsewhere: bool = False

    @property
    def well(self) -> bool:
        """Whether the part works here, or another process may hold it."""
        return self.looked and (self.elsewhere or not self.failures)


class Task(StrEnum):
    """The operations of a part that may fail."""

    TAKE = "its lease can't be taken"
    RENEW = "its lease can't be renewed"
    WORK = "it has stopped here"


class Supervisor:
    """Runs ``parts`` until it is stopped. ``say`` gets one line at a time, from several threads."""

    def __init__(
        self, parts: Iterable[Part], open_lease: OpenLease, say: Say, clock: Callable[[], float] = elapsed
    ) -> None:
        self._keepers = [Keeper(part, open_lease(part.name), say, clock) for part in parts]

    def run(self, stop: threading.Event, grace: float = GRACE) -> None:
        """Run all parts until ``stop``. Each then has ``grace`` seconds to end and release its lease."""
        threads = [threading.Thread(target=keeper.run, name=f"keyturn-{keeper.name}") for keeper in self._keepers]
        for thread in threads:
            thread.daemon = True
            thread.start()
        while not stop.wait(TICK):
            for keeper in self._keepers:
                keeper.look_at_clock()
        for keeper in self._keepers:
            keeper.stop()
        until = time.monotonic() + grace
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def states(self) -> Mapping[str, PartState]:
        """Return the state of each part in this process, by name."""
        return {keeper.name: keeper.state for keeper in self._keepers}


class Keeper:
    """Keeps one part running in this process: holds its lease, and restarts it after a failure."""

    def __init__(self, part: Part, lease: PartLease, say: Say, clock: Callable[[], float]) -> None:
        self.name = part.name
        self._part = part
        self._lease = lease
        self._say = say
        self._clock = clock
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._tenure: Tenure | None = None
        self._error: KeyturnError | None = None
        self._told = dict.fromkeys(Task, "")
        self._state = PartState(part.name)
        self._looked_at = float("-inf")

    @property
    def state(self) -> PartState:
        """The state now."""
        tenure, looked = self._tenure, self._clock() - self._looked_at <= LAPSE
        state = replace(self._state, looked=looked)
        if tenure is None:
            return state
        return replace(state, running=not tenure.ended.is_set(), number=tenure.number, health=tenure.measure())

    def stop(self) -> None:
        """Make the part end soon."""
        self._stop.set()
        if tenure := self._tenure:
            tenure.ended.set()
        self._wake.set()

    def look_at_clock(self) -> None:
        """End a tenure that was not renewed in time, even while a renewal hangs."""
        if (tenure := self._tenure) and tenure.over:
            self._wake.set()

    def run(self) -> None:
        """Run until :meth:`stop`."""
        while not self._stop.is_set():
            number = self._attempt(Task.TAKE, self._lease.take)
            self._state = replace(self._state, elsewhere=number is None and not self._told[Task.TAKE])
            self._stop.wait(WATCH if number is None else self._work(number))

    def _work(self, number: int) -> float:
        """Run the part until it ends, and return the seconds until the next start."""
        began = self._clock()
        self._error = None
        self._wake.clear()
        tenure = self._tenure = Tenure(self.name, number, self._clock, self._renew)
        worker = threading.Thread(target=self._run_part, args=(tenure,), name=f"keyturn-{self.name}-work", daemon=True)
        if not self._state.failures:
            self._say(f"{self.name}: runs here")
        worker.start()
        self._keep(tenure, worker)
        tenure.ended.set()
        worker.join(GRACE)
        if worker.is_alive():
            self._say(f"{self.name}: hangs and does not end here; another process may take it over")
            worker.join()
        self._tenure = None
        with suppress(KeyturnError):
            # If the hub does not answer, the lease lapses. Another process that holds it by now keeps it.
            self._lease.give_back()
        return self._after(self._clock() - began)

    def _run_part(self, tenure: Tenure) -> None:
        try:
            if not self._stop.is_set():
                self._part.run(tenure)
        except KeyturnError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - its text may hold anything, and it must hold up no other part
            self._error = unexpected(error)
        finally:
            self._wake.set()

    def _keep(self, tenure: Tenure, worker: threading.Thread) -> None:
        """Renew the lease until the part ends, or another process holds it."""
        began = self._clock()
        while worker.is_alive() and not tenure.over and not self._wake.wait(RENEW):
            try:
                self._attempt(Task.RENEW, self._renew)
            except Superseded as error:
                tenure.lose()
                return self._tell(Task.WORK, error)
            if self._clock() - began > WELL:
                self._state = PartState(self.name)
                if self._told[Task.WORK]:
                    self._told[Task.WORK] = ""
                    self._say(f"{self.name}: works again")
        if tenure.over and not self._stop.is_set() and self._error is None:
            self._say(f"{self.name}: stopped here, since its lease could not be renewed")
        return None

    def _renew(self) -> None:
        tenure, began = self._tenure, self._clock()
        if tenure:
            self._lease.renew(tenure.measure())
            tenure.renewed(began)

    def _attempt(self, task: Task, call: Callable[[], T]) -> T | None:
        """Call it, and report a failure or a recovery. Raises Superseded."""
        try:
            result = call()
        except Superseded:
            raise
        except KeyturnError as error:
            self._tell(task, error)
            return None
        except Exception as error:  # noqa: BLE001 - its text may hold anything, and it must hold up no other part
            self._tell(task, unexpected(error))
            return None
        self._looked_at = self._clock()
        if self._told[Task.TAKE] or self._told[Task.RENEW]:
            self._told[Task.TAKE] = self._told[Task.RENEW] = ""
            self._say(f"{self.name}: the hub answers again")
        return result

    def _after(self, seconds: float) -> float:
        """Report the end, and return how long to wait."""
        error = self._error
        if error is None or isinstance(error, Superseded):
            if error:
                self._tell(Task.WORK, error)
            self._state = PartState(self.name)
            return WATCH
        failures = 1 if seconds > WELL else self._state.failures + 1
        self._tell(Task.WORK, error)
        self._state = PartState(self.name, failures=failures)
        return wait_after(failures)

    def _tell(self, task: Task, error: KeyturnError) -> None:
        """Report an error, unless it was already reported."""
        text = one_line(str(error))
        if text != self._told[task]:
            self._told[task] = text
            self._say(f"error: {self.name}: {text} ({task}, and tried again)")
