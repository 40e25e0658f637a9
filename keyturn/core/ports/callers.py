"""What another login may read, as the hub decides it."""

from dataclasses import dataclass
from typing import Protocol

from keyturn.core.sensitive import Sensitive


@dataclass(frozen=True)
class Permit:
    """A login's right to read a secret.

    ``lasts`` is how many seconds it may be cached: None without limit, 0 for this request only. ``networks`` are the
    allowed client addresses in CIDR notation; empty for any.
    """

    lasts: float | None = None
    networks: tuple[str, ...] = ()


class CallersPort(Protocol):
    """Queries the hub about other logins."""

    def permit(self, token: Sensitive, path: str) -> Permit:
        """The permit. Raises Denied if the hub forbids the read, or the hub's error.

        An absent secret counts as readable for a login that could read it.
        """
