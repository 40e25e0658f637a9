"""Who may see the dashboard: logins that may read one entry of Keyturn's mount."""

from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.core.sensitive import Sensitive

DASHBOARD: Final = "dashboard"
"""The state entry whose readers may see the page; always empty, since only the right counts."""


@dataclass(frozen=True)
class Viewer:
    """A login that may see the page. ``name`` is the hub's name for it.

    ``networks`` are the allowed client addresses in CIDR notation; empty for any.
    """

    name: str
    networks: tuple[str, ...] = ()


class ViewersPort(Protocol):
    """Queries the hub about people's logins."""

    def admit(self, token: Sensitive) -> Viewer:
        """The viewer. Raises Denied if the hub forbids the page, or the hub's error."""
