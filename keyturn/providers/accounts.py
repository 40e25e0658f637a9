"""What all targets of accounts have in common: the admin's idle sessions, and the words for what is refused."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from keyturn.core.errors import CandidateRejected, Denied, Superseded, Unprivileged, UnsupportedOperation
from keyturn.core.sensitive import SecretFields

GIVEN_UP: Final = "The candidate is given up and CURRENT stays as it is: run the rotation again"
"""What becomes of a candidate that is rejected, and the remedy."""


class Closable(Protocol):
    """What the pool has to know of a session."""

    def close(self) -> None:
        """Let go of it. Closed already is success."""


SessionT = TypeVar("SessionT", bound=Closable)


class Idle(Generic[SessionT]):
    """The admin's sessions that nobody uses now. ``usable`` tells whether one still reaches the server."""

    def __init__(self, connect: Callable[[], SessionT], usable: Callable[[SessionT], bool]) -> None:
        self._connect = connect
        self._usable = usable
        self._sessions: queue.LifoQueue[SessionT] = queue.LifoQueue()

    @contextmanager
    def lent(self) -> Iterator[SessionT]:
        """An idle session, or a new one; one that breaks meanwhile is not lent again."""
        session = self._taken() or self._connect()
        try:
            yield session
        finally:
            self._sessions.put(session)

    def close(self) -> None:
        """Let go of them all."""
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
    """The target refuses the login of Keyturn's own account."""
    hint = f"Put a working username and password at the target's `admin` path in the hub (target {target})"
    return Denied("log in to", target, problem, hint)


def insist_on_another(place: str, account: str, admin: SecretFields) -> None:
    """Raises UnsupportedOperation for Keyturn's own account: without it nothing could be replaced."""
    if account == admin["username"].reveal():
        problem = "it is the account that Keyturn itself logs in with"
        hint = "Give it another password by hand, and put that at the target's `admin` path in the hub"
        raise UnsupportedOperation("cut", place, problem, hint)


def login_refused(place: str, by: object = "the target") -> CandidateRejected:
    """The target, or one node of it, refuses the candidate's login."""
    return CandidateRejected("log in as", place, f"{by} refuses the login", GIVEN_UP)


@dataclass(frozen=True)
class Missing:
    """A right that the account that serves has and the candidate has not, and the statement that gives it."""

    what: str
    remedy: str


NAMED: Final = 5
"""So many missing rights are named."""


def lacking(place: str, missing: Sequence[Missing]) -> Unprivileged:
    """The new account may do less than the one that serves; the first few rights are named, with what gives them."""
    problem = f"it lacks: {', '.join(right.what for right in missing[:NAMED])}"
    problem += f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    remedies = "; ".join(dict.fromkeys(right.remedy for right in missing[:NAMED]))
    return Unprivileged("log in as", place, problem, f"Run as the database's administrator: {remedies}")


def superseded(doing: str, place: str, *, stands: int, sequence: int) -> Superseded:
    """The account bears the mark of rotation ``stands``, which is newer."""
    problem = f"rotation {stands} has written it since, this is {sequence}"
    hint = "A newer run is in charge. After a restored backup there is none: the next run takes a greater number"
    return Superseded(doing, place, problem, hint)
