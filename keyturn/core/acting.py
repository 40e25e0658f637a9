"""Who is at work, for the ledger: set by commands and flows, and the same in every thread that works for them."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Acting:
    """``actor`` is who asked (a person's login, a schedule), ``run`` the Prefect run or process that does it."""

    actor: str
    run: str = ""


acting: ContextVar[Acting | None] = ContextVar("acting", default=None)
