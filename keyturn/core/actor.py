"""The process's own description, set by commands and flows and shared by its threads.

The hub decides the identity (``Identity``). The description is an unverified remark.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ASKED_FOR_BY: Final = ", asked for by "


@dataclass(frozen=True)
class Acting:
    """``run`` is the command and process, or the Prefect run; ``asked_by`` the requester, if known.

    That is the operating system's user, or Prefect's origin of the run: a schedule, an automation.
    """

    run: str
    asked_by: str = ""
    by_others: bool = False
    """Whether others than the hub login may have requested it: Prefect users, names in a log."""

    @property
    def remark(self) -> str:
        """Both: ``keyturn revoke, process 4711, asked for by ana@laptop``."""
        return f"{self.run}{ASKED_FOR_BY}{self.asked_by}" if self.asked_by else self.run


acting: ContextVar[Acting | None] = ContextVar("acting", default=None)


incident_at_work: ContextVar[str] = ContextVar("incident_at_work", default="")
"""The incident of this thread's work; empty without one."""


@contextmanager
def working_at(incident: str) -> Iterator[None]:
    """Assign the work inside to the incident."""
    token = incident_at_work.set(incident)
    try:
        yield
    finally:
        incident_at_work.reset(token)


def incident_action(function: Callable[P, R]) -> Callable[P, R]:
    """Assign the function's work to the incident (or id) in its second argument."""

    @wraps(function)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> R:
        with working_at(str(getattr(arguments[1], "id", arguments[1]))):
            return function(*arguments, **options)

    return wrapped


@dataclass(frozen=True)
class PastRules:
    """Reasons for bypassing rules on purpose.

    ``over_limit`` bypasses rate limits, ``break_glass`` a second person's approval. Only commands set them, for the
    person logged in, never Prefect runs.
    """

    over_limit: str = ""
    break_glass: str = ""


past_rules: ContextVar[PastRules] = ContextVar("past_rules", default=PastRules())  # noqa: B039  it can't be changed


@contextmanager
def going_past_rules(over_limit: str = "", break_glass: str = "") -> Iterator[None]:
    """Allow bypassing rules inside, for these reasons."""
    token = past_rules.set(PastRules(over_limit.strip(), break_glass.strip()))
    try:
        yield
    finally:
        past_rules.reset(token)
