"""What is at work, in its own words: set by commands and flows, and the same in every thread that works for them.

Who it is says the hub (:class:`keyturn.core.hub.Identity`). What stands here is a remark beside that: nobody vouches
for it.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

ASKED_FOR_BY: Final = ", asked for by "


@dataclass(frozen=True)
class Acting:
    """``run`` is the command and process, or the Prefect run; ``asked_by`` is who asked, as far as they know.

    That is the operating system's user, or whom Prefect takes for whoever began the run: a schedule, an automation.
    """

    run: str
    asked_by: str = ""
    through_prefect: bool = False
    """Whether others than who is logged in to the hub may have asked for it: whoever may use the Prefect server."""

    @property
    def remark(self) -> str:
        """Both: ``keyturn revoke, process 4711, asked for by ana@laptop``."""
        return f"{self.run}{ASKED_FOR_BY}{self.asked_by}" if self.asked_by else self.run


acting: ContextVar[Acting | None] = ContextVar("acting", default=None)
