"""What is at work, in its own words: set by commands and flows, and the same in every thread that works for them.

Who it is says the hub (``Identity``). What stands here is a remark beside that: nobody vouches
for it.
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
    """``run`` is the command and process, or the Prefect run; ``asked_by`` is who asked, as far as they know.

    That is the operating system's user, or whom Prefect takes for whoever began the run: a schedule, an automation.
    """

    run: str
    asked_by: str = ""
    by_others: bool = False
    """Whether others than who is logged in to the hub may have asked for it: who may use Prefect, or is in a log."""

    @property
    def remark(self) -> str:
        """Both: ``keyturn revoke, process 4711, asked for by ana@laptop``."""
        return f"{self.run}{ASKED_FOR_BY}{self.asked_by}" if self.asked_by else self.run


acting: ContextVar[Acting | None] = ContextVar("acting", default=None)


incident_at_work: ContextVar[str] = ContextVar("incident_at_work", default="")
"""The incident that this thread works at; empty without one."""


@contextmanager
def working_at(incident: str) -> Iterator[None]:
    """What is done here belongs to the incident."""
    token = incident_at_work.set(incident)
    try:
        yield
    finally:
        incident_at_work.reset(token)


def incident_action(function: Callable[P, R]) -> Callable[P, R]:
    """What the function does belongs to the incident, or the incident's id, that is its second argument."""

    @wraps(function)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> R:
        with working_at(str(getattr(arguments[1], "id", arguments[1]))):
            return function(*arguments, **options)

    return wrapped


@dataclass(frozen=True)
class PastRules:
    """Why whoever is at work goes past a rule on purpose; empty where they do not.

    ``over_limit`` is for limits of how often something may be asked for, ``break_glass`` for a second person's word.
    Only commands say it, by whoever is logged in themselves: nothing that Prefect runs does.
    """

    over_limit: str = ""
    break_glass: str = ""


past_rules: ContextVar[PastRules] = ContextVar("past_rules", default=PastRules())  # noqa: B039  it can't be changed


@contextmanager
def going_past_rules(over_limit: str = "", break_glass: str = "") -> Iterator[None]:
    """Let rules be gone past here, for these reasons."""
    token = past_rules.set(PastRules(over_limit.strip(), break_glass.strip()))
    try:
        yield
    finally:
        past_rules.reset(token)
