"""One tree of errors: what was being done, to which name, what went wrong, and what to do about it.

No message ever holds a secret value or the body of a response: adapters raise these at their edge,
``from None``. Whether to try again is told by the class, never by the text.
"""

import traceback
from typing import Final, Self

RETRY_AFTER_LIMIT: Final = 60.0
"""Seconds of a wait that somebody else asks for."""


class KeyturnError(Exception):
    """Base of every error a user sees.

    ``doing`` is a verb phrase ("write"), ``name`` what it was done to ("aws:ml-api-keys"),
    ``problem`` what happened, ``hint`` the remedy for the person reading.
    """

    def __init__(self, doing: str, name: str, problem: str, hint: str = "") -> None:
        super().__init__(doing, name, problem, hint)
        self.doing = doing
        self.name = name
        self.problem = problem
        self.hint = hint
        self.step = ""

    @property
    def text(self) -> str:
        """What happened to what, and the remedy, where the step is known anyway."""
        problem = f"{self.doing} {self.name}: {self.problem}"
        return f"{problem}. {self.hint}" if self.hint else problem

    def __str__(self) -> str:
        return self.step + self.text

    def during(self, step: str, path: str) -> Self:
        """Say in which step of which secret's rotation it happened; the innermost step stays."""
        self.step = self.step or f"{path}, {step}: "
        return self


class TransientError(KeyturnError):
    """Worth trying again: the same call may succeed later with nothing changed."""


class Unavailable(TransientError):
    """The other side did not answer, or answered that it can't now."""


class Throttled(TransientError):
    """The other side asks for a slower pace; ``retry_after`` is in seconds, None where it gave none.

    However long it asks for, it is no more than ``RETRY_AFTER_LIMIT``: it may be wrong, or mean ill.
    """

    def __init__(self, doing: str, name: str, problem: str, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(doing, name, problem, hint)
        self.retry_after = None if retry_after is None else min(retry_after, RETRY_AFTER_LIMIT)


class NotEnded(TransientError):
    """A leaked credential still works: its target has not refused it yet."""


class HubUnavailable(Unavailable):
    """The hub does not answer, so a revocation can't begin or continue."""


class Locked(TransientError):
    """Somebody else holds what is needed; they will let go."""


class Contended(TransientError):
    """Others have written it each time between reading and writing, as often as it was tried."""


class Unrecorded(TransientError):
    """The ledger can't be written, so what was to be recorded there was not begun."""


class Unwitnessed(TransientError):
    """Nobody can tell now whether this hub, of two, is the one that is written."""


class TerminalError(KeyturnError):
    """Trying again changes nothing until a person has mended the cause."""


class NotFound(TerminalError):
    """What was asked for is not there."""


class Missing(NotFound):
    """What was there is deleted, destroyed or gone: a person has to say what is right, and nothing is made up."""


class OverLimit(TerminalError):
    """So much of it was asked for within the hour that more has to wait, or to be meant."""


class Denied(TerminalError):
    """The credentials in use lack the permission, or are refused."""


class LoginRefused(Denied):
    """The hub refuses this process's login, so it can read nothing there."""


class Unproven(Denied):
    """The server that answered may be another one: its certificate, or its redirect. It is no word of what is there."""


class Invalid(TerminalError):
    """The request itself is wrong: a name, a size, a setting."""


class Conflict(TerminalError):
    """The state moved since it was read: a compare-and-set failed."""


class Taken(Conflict):
    """What was to be made there is there already, whoever has made it; nothing was changed."""


class Rewritten(TerminalError):
    """A record that may only grow was changed, cut short or exchanged."""


class Ahead(TerminalError):
    """Something outside holds a newer version than the hub does: what the hub holds may be dead."""


class NotWritable(TerminalError):
    """Of two hubs this is not the one that is written."""


class NotOwned(TerminalError):
    """Something of that name exists and Keyturn's marks are not on it."""


class NothingMade(TerminalError):
    """The target refused to make a credential, and certainly made none."""


class CredentialLost(TerminalError):
    """The old credential may have ended, and its successor is known to no one."""


class CandidateRejected(TerminalError):
    """The target refused the candidate itself as unusable, so it must be abandoned."""


class CertainRefusal(CandidateRejected):
    """Every other candidate would be refused alike, so none is made: a person has to mend the cause."""


class Misrendered(CertainRefusal):
    """A copy's text would log nobody in, whatever the candidate: a person has to correct its template."""


class Unprivileged(CertainRefusal):
    """The candidate may do less than what serves, and so would every other: a person has to grant the rest."""


class Superseded(TerminalError):
    """A newer rotation has been here: this one must not write any more."""


class UnsupportedOperation(TerminalError):
    """This adapter says honestly that it can't do that."""


class PreviousUnended(TerminalError):
    """The credential before the last rotation has not ended yet, so no other rotation begins."""


class Unforeseen(TerminalError):
    """A fault that nobody foresaw, told by its class and place, as its text could hold a value."""


def unexpected(error: Exception) -> Unforeseen:
    """An error that Keyturn did not foresee, told by its class and place alone."""
    problem = f"unexpected {type(error).__name__} at {raised_at(error)}"
    return Unforeseen("run", "this step", problem, "Nothing is lost: a later run continues from here. Please report it")


def raised_at(error: Exception) -> str:
    """Where an error was raised: the last of Keyturn's own lines on its way."""
    frames = [(frame.f_globals["__name__"], line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [(module, line) for module, line in frames if module.startswith("keyturn.")]
    module, line = (ours or frames)[-1]
    return f"line {line} of {module}"
