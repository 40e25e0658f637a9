"""Common parts of all targets of accounts."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from keyturn.core.errors import CandidateRejected, Denied, Superseded, Unprivileged, UnsupportedOperation
from keyturn.core.sensitive import SecretFields

GIVEN_UP: Final = "The candidate is given up and CURRENT stays as it is: run the rotation again"


class Closable(Protocol):
    """A session in the pool."""

    def close(self) -> None:
        """Close it. Closed already is success."""


SessionT = TypeVar("SessionT", bound=Closable)


class Idle(Generic[SessionT]):
    def __init__(self, connect: Callable[[], SessionT], usable: Callable[[SessionT], bool]) -> None:
        self._connect = connect
        self._usable = usable
        self._sessions: queue.LifoQueue[SessionT] = queue.LifoQueue()

    @contextmanager
    def lent(self) -> Iterator[SessionT]:
        session = self._taken() or self._connect()
        try:
            yield session
        finally:
            self._sessions.put(session)

    def close(self) -> None:
        while not self._sessions.empty():
            self._sessions.get_nowait().close()

    def _taken(self) -> SessionT | None:
        while True:
            try:
                session = self._sessions.get_nowait()
            except queue.Empty:
                return None
            if self._usable(session):
                return session
            session.close()


def admin_refused(target: str, problem: str) -> Denied:
    hint = f"Put a working username and password at the target's `admin` path in the hub (target {target})"
    return Denied("log in to", target, problem, hint)


def insist_on_another(place: str, account: str, admin: SecretFields) -> None:
    """Raises UnsupportedOperation for Keyturn's own account, which all rotations need."""
    if account == admin["username"].reveal():
        problem = "it is the account that Keyturn itself logs in with"
        hint = "Give it another password by hand, and put that at the target's `admin` path in the hub"
        raise UnsupportedOperation("cut", place, problem, hint)


def login_refused(place: str, by: object = "the target") -> CandidateRejected:
    return CandidateRejected("log in as", place, f"{by} refuses the login", GIVEN_UP)


@dataclass(frozen=True)
class Missing:
    what: str
    remedy: str


NAMED: Final = 5


def lacking(place: str, missing: Sequence[Missing]) -> Unprivileged:
    problem = f"it lacks: {', '.join(right.what for right in missing[:NAMED])}"
    problem += f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    remedies = "; ".join(dict.fromkeys(right.remedy for right in missing[:NAMED]))
    return Unprivileged("log in as", place, problem, f"Run as the database's administrator: {remedies}")


def superseded(doing: str, place: str, *, stands: int, sequence: int) -> Superseded:
    problem = f"rotation {stands} has written it since, this is {sequence}"
    hint = "A newer run is in charge. After a restored backup there is none: the next run takes a greater number"
    return Superseded(doing, place, problem, hint)
