"""A leased credential for one process, renewed by a thread and revoked at the end.

with client.lease("database/creds/ml-reader") as credential:
    login = credential.fields
    connect(login["username"].reveal(), login["password"].reveal())
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from os import getpid
from types import TracebackType
from typing import Final, Self

from keyturn.client import open_leases
from keyturn.client.clock import elapsed
from keyturn.client.policy import LEASE_TTL
from keyturn.core.errors import Invalid, KeyturnError, Missing, TerminalError, Throttled, TransientError, Unproven
from keyturn.core.ports.engines import IssuedLease, Lessor
from keyturn.core.sensitive import SecretFields, Sensitive

log = logging.getLogger(__name__)

RENEWED: Final = (0.5, 0.65)
"""The shares of its life between which a lease is renewed, so that concurrent jobs renew at different times."""
LONGEST_SLEEP: Final = 30.0
"""Seconds to notice an expired lease after a suspension."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
SHORTEST_PAUSE: Final = 0.2
"""Seconds between two attempts to renew; at most a quarter of the time left."""
BETTER: Final = 1.5
"""The factor by which a new lease has to outlast the previous one."""

Watcher = Callable[["Credential"], object]


@dataclass(frozen=True)
class Term:
    """A lease as last issued or renewed at ``began``; ``fresh`` until it is renewed."""

    lease: IssuedLease
    began: float
    expires_at: datetime
    fresh: bool

    @property
    def left(self) -> float:
        """Seconds from ``began`` to its end."""
        return self.lease.ttl.total_seconds()

    @property
    def ends(self) -> float:
        """The instant of its end."""
        return self.began + self.left

    @property
    def renewal(self) -> float:
        """The instant of its renewal."""
        return self.began + self.left * random.uniform(*RENEWED)  # noqa: S311  it keeps processes apart


@dataclass(frozen=True)
class Ending:
    """Why a credential has ended, and a hint."""

    problem: str
    hint: str


class Credential:
    """A credential that belongs to this process, renewed by a thread. Thread-safe.

    A new lease replaces one that can't be renewed further, as at the role's ``max_ttl``, unless ``replaced`` is false.
    The previous lease lives until its own end. The credential ends without a replacement where the hub refuses a
    renewal, as after a revocation, or does not answer before it expires. The thread calls ``on_change`` after a
    replacement or end. A ``with`` block, :meth:`close`, the process's end and SIGTERM revoke it. A forked process does
    not own it.
    """

    def __init__(
        self,
        lessor: Lessor,
        path: str,
        ttl: float | None = LEASE_TTL,
        *,
        replaced: bool = True,
        on_change: Watcher | None = None,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        if ttl is not None and not ttl >= 1:
            raise Invalid(
                "take a lease of", path, f"it can't be renewed for {ttl} s at a time", "Give it a second or more"
            )
        self.path = path
        self._lessor = lessor
        self._ttl = ttl
        self._replaced = replaced
        self._on_change = on_change
        self._clock = clock
        self._pid = getpid()
        self._tending = threading.RLock()
        self._stopped = threading.Event()
        self._failures = 0
        self._end: Ending | None = None
        self._before: list[Term] = []
        self._spent = False
        self._term = self._take()
        self._full = self._aim(self._term)
        self._reported = self._state()
        open_leases.add(self)
        try:
            threading.Thread(target=self._keep, name="keyturn-lease", daemon=True).start()
        except BaseException:
            self.close()
            raise

    @property
    def fields(self) -> SecretFields:
        """The issued fields, all of one credential. Raises Missing after its end."""
        term = self._term
        self._insist_on_life(term)
        return term.lease.fields

    def __getitem__(self, name: str) -> Sensitive:
        """One field. Raises KeyError, and Missing where the credential has ended."""
        return self.fields[name]

    @property
    def lease_id(self) -> str:
        """The hub's name of the lease, which is not secret."""
        return self._term.lease.lease_id

    @property
    def expires_at(self) -> datetime:
        """The time of its end unless renewed, by this machine's clock."""
        return self._term.expires_at

    @property
    def renewable(self) -> bool:
        """Whether the lease can be renewed at all."""
        return self._term.lease.renewable

    @property
    def expired(self) -> bool:
        """Whether it expired, the hub refused it, or it was revoked here."""
        return self._ending(self._term) is not None

    @property
    def ended(self) -> str:
        """The reason why it has ended; empty while it is valid."""
        ending = self._ending(self._term)
        return ending.problem if ending else ""

    def renew(self) -> None:
        """Renew it now, as after a refused login, where it can be renewed.

        Raises Missing where it has ended, and Unavailable.
        """
        self._insist_on_own()
        with self._tending:
            self._insist_on_life(self._term)
            try:
                if self.renewable:
                    self._renew()
            except (TransientError, Unproven):
                raise
            except KeyturnError as error:
                self._refused(error)
        self._tell()
        self._insist_on_life(self._term)

    def close(self) -> None:
        """Revoke its leases. Where the hub can't be reached, they expire."""
        if self._pid != getpid() or self._stopped.is_set():
            return
        self._stopped.set()
        with self._tending:
            self._end = self._end or Ending("it was given back", "Take another one")
            for term in (*self._before, self._term):
                self._give_back(term)
        open_leases.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "ended" if self.expired else f"until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        return f"Credential({self.lease_id}, {state})"

    def _keep(self) -> None:
        due = self._due()
        while not self._stopped.wait(max(0.0, min(due - self._clock(), LONGEST_SLEEP))):
            if self._clock() < due:
                continue
            with self._tending:
                due = self._tend()
            self._tell()
            if self._end:
                return

    def _tend(self) -> float:
        """Renew it, and return the instant of the next renewal."""
        try:
            if not self.expired:  # true also once it was revoked here
                self._renew()
                return self._due()
        except (TransientError, Unproven) as error:
            self._failures += 1
            if not self.expired:
                log.warning("%s", error)
                return self._clock() + self._pause(error)
        except KeyturnError as error:
            self._refused(error)
        except Exception as error:  # noqa: BLE001 - whatever a source raises, its text may hold the value
            self._failures += 1
            log.error("%s could not be renewed: %s", self.lease_id, type(error).__name__)
            if not self.expired:
                return self._clock() + self._pause()
        self._end = self._ending(self._term)
        return self._clock()

    def _renew(self) -> None:
        """Renew the lease, or replace it below half of its time."""
        renewed = self._renewed()
        if renewed:
            self._term, self._full = renewed, max(self._full, self._aim(renewed))
        self._failures = 0
        if not renewed or renewed.left < self._full / 2:
            self._replace()

    def _renewed(self) -> Term | None:
        if not self._term.lease.renewable:
            return None
        wanted, lease = timedelta(seconds=self._ttl or 0), self._term.lease
        return self._timed(lambda: self._lessor.renew_lease(lease, wanted), fresh=False)

    def _replace(self) -> None:
        """Take a new lease, unless that would end almost as soon."""
        self._spent = not self._replaced
        if self._spent:
            return
        try:
            term = self._take()
        except TerminalError as error:
            log.warning("%s", error)
            self._spent = True
            return
        if term.ends - self._clock() < BETTER * (self._term.ends - self._clock()):
            self._spent = True
            self._give_back(term)
            return
        now = self._clock()
        self._before = [*(before for before in self._before if before.ends > now), self._term]
        self._term, self._full = term, self._aim(term)

    def _take(self) -> Term:
        return self._timed(lambda: self._lessor.issue_lease(self.path), fresh=True)

    def _timed(self, ask: Callable[[], IssuedLease], *, fresh: bool) -> Term:
        began, at = self._clock(), datetime.now(UTC)
        lease = ask()
        return Term(lease, began, at + lease.ttl, fresh)

    def _aim(self, term: Term) -> float:
        """The seconds that a renewal should give."""
        return min(term.left, self._ttl or term.left)

    def _due(self) -> float:
        """When to renew it: at once if it would outlive a killed process too long."""
        term = self._term
        if self._spent:
            return term.ends
        too_long = term.fresh and term.lease.renewable and term.left > (self._ttl or term.left)
        return term.began if too_long else term.renewal

    def _ending(self, term: Term) -> Ending | None:
        if self._end or self._clock() < term.ends:
            return self._end
        if self._pid != getpid():
            return Ending("it was not renewed in this process, which was forked", "Take another one in this process")
        if self._spent:
            return Ending("its time is over", "It lives as long as the role's max_ttl, or the login that took it")
        return Ending("its time was over before the hub renewed it", "See that the hub answers; then take another one")

    def _insist_on_life(self, term: Term) -> None:
        if ending := self._ending(term):
            raise Missing("use", term.lease.lease_id, ending.problem, ending.hint)

    def _refused(self, error: KeyturnError) -> None:
        """End the credential, even if a login with it still works."""
        problem = f"the hub does not renew it ({error.problem}): it was revoked, or the login that took it has ended"
        self._end = Ending(problem, "Find out who has ended it, and why, before another one is taken")

    def _state(self) -> tuple[str, bool]:
        return self._term.lease.lease_id, self._end is not None

    def _tell(self) -> None:
        """Log a change and call ``on_change``, once for each change."""
        with self._tending:
            state = self._state()
            if state == self._reported or self._stopped.is_set():
                return
            self._reported = state
        if self._end:
            log.error("%s: %s. %s", self.lease_id, self._end.problem, self._end.hint)
        if self._on_change is None:
            return
        try:
            self._on_change(self)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises, its text may hold the value
            log.error("%s: the function that watches it raised %s", self.lease_id, type(error).__name__)

    def _pause(self, error: KeyturnError | None = None) -> float:
        wait = (error.retry_after or 0.0) if isinstance(error, Throttled) else 0.0
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
        left = self._term.ends - self._clock()
        return min(max(pause, wait), max(left / 4, SHORTEST_PAUSE))

    def _give_back(self, term: Term) -> None:
        try:
            self._lessor.revoke_lease(term.lease.lease_id)
        except KeyturnError as error:
            log.warning("%s; it ends by itself at %s", error, term.expires_at.isoformat(timespec="seconds"))
        except Exception as error:  # noqa: BLE001 - whatever a source raises, its text may hold the value
            log.error("%s could not be given back: %s", term.lease.lease_id, type(error).__name__)

    def _insist_on_own(self) -> None:
        if self._pid != getpid():
            problem = "another process has taken it, from which this one was forked"
            raise Invalid("renew", self.lease_id, problem, "Take another one in this process")
