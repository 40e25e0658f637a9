"""Who may see the page of everything: whoever the hub lets read one place in Keyturn's own mount."""

from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.core.sensitive import Sensitive

DASHBOARD: Final = "dashboard"
"""The entry of the state mount whose reader may see the page. Nothing is ever in it: the right alone counts."""


@dataclass(frozen=True)
class Viewer:
    """Somebody who may see the page. ``name`` is what the hub calls their login.

    ``networks`` are the addresses that the login may be used from, in CIDR notation; empty for any.
    """

    name: str
    networks: tuple[str, ...] = ()


class ViewersPort(Protocol):
    """Asks the hub about logins of people."""

    def admit(self, token: Sensitive) -> Viewer:
        """Raises Denied where the hub does not let this token see the page, and what the hub raises else."""
